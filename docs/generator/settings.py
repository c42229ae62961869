"""The page of all settings: one table for each section, each data set and each segmenter."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticUndefined

from dcn.datasets import DATASETS
from dcn.options import Options
from dcn.segmenters import SEGMENTERS
from flows.settings import AdaptiveSettings, Settings, TLSSettings

_START = """\
<!-- `python -m docs.generator` writes this page. Change the code, not the page. -->

# Settings

A configuration is a YAML file with these sections. An unknown name is an error. `--set section.name=value`
changes one setting on the command line: `dcn run sample --set train.num_prototypes=3`. *Empty* means that the
setting is `null` or not given.

A setting is part of the key of every checkpoint whose content it changes. Settings that change no result
(`runner`, `workspace`, `shard_images`, `backbone.batch_size`, ...) are part of no key.
"""

# The settings whose value is an entry of a table, and the group of settings that a section may hold.
_CHOICES: dict[str, tuple[type[Options], ...]] = {"dataset": DATASETS, "segment.segmenter": SEGMENTERS}
_GROUPS: dict[str, type[Options]] = {"runner.adaptive": AdaptiveSettings, "runner.tls": TLSSettings}
_LIMITS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
_TYPES = {
    "integer": "integer",
    "number": "number",
    "string": "text",
    "boolean": "`true` or `false`",
    "object": "mapping",
    "path": "path",
    None: "any value",
}
_SECTION = "a section, see below"


def settings_page() -> str:
    """The page as Markdown."""
    alone = [name for name in Settings.model_fields if name not in _sections() and name not in _CHOICES]
    parts = [_START, "## At the top\n", _table(Settings, alone)]
    for name, section in _sections().items():
        if name in _CHOICES:
            parts += _choice(name)
            continue
        parts += [f"## {name}\n", _first_lines(section) + "\n", _table(section)]
        for place, group in _GROUPS.items():
            if place.startswith(f"{name}."):
                parts += [f"### {place}\n", _first_lines(group) + "\n", _table(group)]
        for place in _CHOICES:
            if place.startswith(f"{name}."):
                parts += _choice(place)
    return "\n".join(parts)


def _sections() -> dict[str, type[Options]]:
    """The sections of a configuration in their order, with the class of each."""
    found = {}
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, Options):
            found[name] = type(field.default)
    return found


def _choice(place: str) -> Iterator[str]:
    level = "#" * (2 + place.count("."))
    names = ", ".join(f"`{_name(entry)}`" for entry in _CHOICES[place])
    yield f"{level} {place}\n"
    yield f"`{place}.name` is one of {names}. Each has its own settings.\n"
    for entry in _CHOICES[place]:
        settings = [name for name in entry.model_fields if name != "name"]
        yield f"{level}# {place}.name: {_name(entry)}\n"
        yield _first_lines(entry) + "\n"
        yield _table(entry, settings) if settings else "It has no other settings.\n"


def _name(entry: type[Options]) -> str:
    return str(entry.model_fields["name"].default)


def _first_lines(section: type[Options]) -> str:
    """First paragraph of the docstring of a class, as Markdown."""
    return _markdown((inspect.getdoc(section) or "").partition("\n\n")[0])


def _table(section: type[Options], names: list[str] | None = None) -> str:
    settings = section.model_json_schema()["properties"]
    rows = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    for name in section.model_fields if names is None else names:
        entry = settings[name]
        shown = [f"`{name}`", _value(entry), _default(section, name), _markdown(_description(entry))]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in shown) + " |")
    return "\n".join(rows) + "\n"


def _description(entry: Mapping[str, Any]) -> str:
    """Description of a setting; where it may be empty, that of its value."""
    described = [entry, *entry.get("anyOf", [])]
    return next((choice["description"] for choice in described if "description" in choice), "")


def _value(entry: Mapping[str, Any]) -> str:
    """Type of a setting, or its allowed values, with its limits."""
    if "anyOf" in entry:
        kinds = [choice.get("type") for choice in entry["anyOf"]]
        values = dict.fromkeys(_value(choice) for choice in entry["anyOf"] if choice.get("type") != "null")
        return ", ".join(values) + ", or empty" * ("null" in kinds)
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if entry.get("type") == "array":
        return f"list of {_value(entry['items'])}"
    limits = [text.format(entry[limit]) for limit, text in _LIMITS.items() if limit in entry]
    kind = _SECTION if "$ref" in entry else _TYPES[entry.get("format", entry.get("type"))]
    return " ".join([kind, ", ".join(limits)]).strip()


def _default(section: type[Options], name: str) -> str:
    default = section.model_fields[name].default
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "empty"
    if isinstance(default, Options):
        return f"`{default.model_dump_json()}`"
    return f"`{json.dumps(default) if not isinstance(default, str) else default}`"


def _markdown(text: str) -> str:
    """A docstring's double backticks as single ones, on one line."""
    return " ".join(text.replace("``", "`").split())
