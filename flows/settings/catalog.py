"""Every setting in words: its values, its default and its meaning. The models are the only source."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticUndefined

from dcn.clusterers import CLUSTERERS
from dcn.datasets import DATASETS
from dcn.options import Options
from dcn.segmenters import SEGMENTERS
from flows.settings.runner import AdaptiveSettings, TLSSettings
from flows.settings.settings import Settings

# The settings whose value is an entry of a table, and the group of settings that a section may hold.
CHOICES: dict[str, tuple[type[Options], ...]] = {
    "dataset": DATASETS,
    "segment.segmenter": SEGMENTERS,
    "evaluate.clustering": CLUSTERERS,
}
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
_GROUP = "a section, see below"
REQUIRED = "required"


@dataclass(frozen=True)
class Setting:
    """One setting. All texts are Markdown, in one line.

    Attributes:
        name: name in its section.
        value: type or allowed values.
        default: value if nothing is written; :data:`REQUIRED` without a default.
        meaning: what it does.

    """

    name: str
    value: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """Settings that stand together in a configuration.

    Attributes:
        place: dotted name, as in ``--set``; empty at the top.
        entry: name of the entry of a table that has these settings (``folder``); empty without a table.
        meaning: what the section is about, Markdown.
        settings: its settings.

    """

    place: str
    entry: str
    meaning: str
    settings: tuple[Setting, ...]

    def full_name(self, setting: str) -> str:
        """Name of a setting as ``--set`` takes it."""
        return f"{self.place}.{setting}" if self.place else setting


def all_sections() -> list[Section]:
    """List the sections in the order of a configuration; the settings at the top first."""
    own = {name: type(field.default) for name, field in Settings.model_fields.items()}
    sections = {name: kind for name, kind in own.items() if issubclass(kind, Options)}
    alone = [name for name in Settings.model_fields if name not in sections]
    found = [Section("", "", "", _settings(Settings, alone))]
    for name, kind in sections.items():
        if name in CHOICES:
            found += _entries(name)
            continue
        found.append(Section(name, "", _first_lines(kind), _settings(kind)))
        for place, group in _GROUPS.items():
            if place.startswith(f"{name}."):
                found.append(Section(place, "", _first_lines(group), _settings(group)))
        for place in CHOICES:
            if place.startswith(f"{name}."):
                found += _entries(place)
    return found


def entry_name(entry: type[Options]) -> str:
    """Name of an entry of a table, as a configuration writes it."""
    return str(entry.model_fields["name"].default)


def _entries(place: str) -> Iterator[Section]:
    names = [entry_name(entry) for entry in CHOICES[place]]
    for entry, name in zip(CHOICES[place], names, strict=True):
        own = _settings(entry, [setting for setting in entry.model_fields if setting != "name"])
        yield Section(place, name, _first_lines(entry), own)


def _settings(section: type[Options], names: Sequence[str] | None = None) -> tuple[Setting, ...]:
    schema = section.model_json_schema()["properties"]
    return tuple(
        Setting(
            name, _value(schema[name]), _default(section, name), markdown_line(_description(schema[name]))
        )
        for name in (section.model_fields if names is None else names)
    )


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
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if entry.get("type") == "array":
        return f"list of {_value(entry['items'])}"
    limits = [text.format(entry[limit]) for limit, text in _LIMITS.items() if limit in entry]
    kind = _GROUP if "$ref" in entry else _TYPES[entry.get("format", entry.get("type"))]
    return " ".join([kind, ", ".join(limits)]).strip()


def _default(section: type[Options], name: str) -> str:
    default = section.model_fields[name].default
    if default is PydanticUndefined:
        return REQUIRED
    if default is None:
        return "empty"
    if isinstance(default, Options):
        return f"`{default.model_dump_json()}`"
    return f"`{json.dumps(default) if not isinstance(default, str) else default}`"


def _first_lines(section: type[Options]) -> str:
    """First paragraph of the docstring of a class."""
    return markdown_line((inspect.getdoc(section) or "").partition("\n\n")[0])


def markdown_line(text: str) -> str:
    """Write a docstring's double backticks as single ones, on one line."""
    return " ".join(text.replace("``", "`").split())
