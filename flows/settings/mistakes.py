"""What is wrong with the values of a configuration: where it stands, and what to write instead."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dcn.did_you_mean import did_you_mean
from flows.printable import NOT_UNICODE
from flows.settings.catalog import CHOICES, Section, all_sections, entry_name
from flows.settings.yaml_text import Place

_PACKAGE = "dynamic-clustering-network"
_QUOTES = "a number, true, false and null need quotes to be one"
_NAMES = "write names with values, as in {{seed: 1}}"
# What to write instead of a value, by the type of pydantic's error, with the numbers of its context.
_WORDS = {
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_parsing_size": "write a smaller number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "finite_number": "write a finite number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "string_type": f"write a text; {_QUOTES}",
    "string_unicode": NOT_UNICODE,
    "path_type": f"write a path; {_QUOTES}",
    "greater_than_equal": "write a number of at least {ge}",
    "greater_than": "write a number above {gt}",
    "less_than_equal": "write a number of at most {le}",
    "less_than": "write a number below {lt}",
    "literal_error": "write {expected}",
    "list_type": "write a list, as in [1, 2]",
    "tuple_type": "write a list, as in [1, 2]",
    "dict_type": _NAMES,
    "model_type": _NAMES,
    "model_attributes_type": _NAMES,
    "too_short": "write a list of at least {min_length}",
    "too_long": "write a list of at most {max_length}",
}
# Of a value that is longer, the message shows the beginning.
_LONGEST = 80


@dataclass(frozen=True)
class _Mistaken:
    """A setting with a mistake: its place, and the entry of a table that it belongs to."""

    place: Place
    entry: str

    @property
    def name(self) -> str:
        return ".".join(self.place)

    @property
    def section(self) -> str:
        return ".".join(self.place[:-1])

    @property
    def setting(self) -> str:
        return self.place[-1]


def describe_mistakes(error: ValidationError, source: str, sources: Mapping[Place, str]) -> str:
    """Write one line for each wrong setting: where it stands, its name, the problem, and what to write.

    Args:
        error: what pydantic says about the values.
        source: name of the configuration.
        sources: where single settings stand, such as a line of the configuration.

    """
    lines = []
    for problem in error.errors():
        mistaken = _find_setting(problem)
        sentence = _SENTENCES.get(problem["type"], _wrong_value)(mistaken, problem)
        lines.append(f"{source_of(mistaken.place, source, sources)}: {mistaken.name}: {sentence}")
    return "\n".join(lines)


def source_of(place: Place, source: str, sources: Mapping[Place, str]) -> str:
    """Say where a setting stands, or else the section that it is missing from, or a part of its value."""
    above = (place[:length] for length in range(len(place), 0, -1))
    below = (other for other in sources if other[: len(place)] == place)
    return next((sources[other] for other in chain(above, below) if other in sources), source)


def _find_setting(problem: ErrorDetails) -> _Mistaken:
    # The location contains the entry of a table (dataset.voc2012.root). The user wrote dataset.root.
    parts = [str(part) for part in problem["loc"]]
    entry = ""
    for choice in CHOICES:
        of_choice = choice.split(".")
        if parts[: len(of_choice)] == of_choice and len(parts) > len(of_choice):
            entry = parts.pop(len(of_choice))
    if problem["type"].startswith("union_tag"):
        parts.append("name")
    return _Mistaken(tuple(parts), entry)


def _wrong_value(_: _Mistaken, problem: ErrorDetails) -> str:
    context: Mapping[str, Any] = problem.get("ctx", {})
    value = problem["input"]
    if problem["type"] == "value_error":
        said = str(context["error"])
        if isinstance(value, dict):  # the problem is between the settings of a section
            return said
    else:
        words = _WORDS.get(problem["type"])
        said = problem["msg"] if words is None else words.format(**context)
    return f"{said}; it is empty" if value is None else f"{said}, not {_shown(value)}"


def _shown(value: Any) -> str:
    """Write a value as a configuration does: true, not True."""
    shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def _unknown_setting(mistaken: _Mistaken, _: ErrorDetails) -> str:
    # It is a typing error, in the wrong section, or of a newer version. The user can tell which.
    sections = all_sections()
    here = [setting.name for found in sections if _holds(found, mistaken) for setting in found.settings]
    if not mistaken.section:
        here += [found.place for found in sections if found.place and "." not in found.place]
    elsewhere = [
        found.full_name(setting.name)
        for found in sections
        for setting in found.settings
        if setting.name == mistaken.setting
    ]
    same_name = f"; did you mean {' or '.join(dict.fromkeys(elsewhere))}?" if elsewhere else ""
    hint = same_name or did_you_mean(mistaken.setting, here)
    return f"dcn {version(_PACKAGE)} has no such setting{hint}"


def _missing_setting(mistaken: _Mistaken, _: ErrorDetails) -> str:
    settings = (setting for found in all_sections() if _holds(found, mistaken) for setting in found.settings)
    known = next((setting for setting in settings if setting.name == mistaken.setting), None)
    value = known.value.partition(" ")[0].upper() if known else "VALUE"
    meaning = f" ({known.meaning.rstrip('.')})" if known else ""
    text = f"{mistaken.setting}: {value}"
    for section in reversed(mistaken.place[:-1]):
        text = f"{section}: {{{text}}}"
    return f"it has no value; write {text}, or --set {mistaken.name}={value}{meaning}"


def _missing_entry(mistaken: _Mistaken, _: ErrorDetails) -> str:
    return f"it has no value; write one of {', '.join(_entries(mistaken))}"


def _unknown_entry(mistaken: _Mistaken, problem: ErrorDetails) -> str:
    wanted = str(problem["ctx"]["tag"])
    known = _entries(mistaken)
    return f"there is no {_shown(wanted)}; choose from {', '.join(known)}{did_you_mean(wanted, known)}"


def _entries(mistaken: _Mistaken) -> list[str]:
    return [entry_name(entry) for entry in CHOICES[mistaken.section]]


def _holds(section: Section, mistaken: _Mistaken) -> bool:
    return section.place == mistaken.section and section.entry in ("", mistaken.entry)


# By the type of pydantic's error; all others have a value, which is not what the setting wants.
_SENTENCES: dict[str, Callable[[_Mistaken, ErrorDetails], str]] = {
    "extra_forbidden": _unknown_setting,
    "missing": _missing_setting,
    "union_tag_invalid": _unknown_entry,
    "union_tag_not_found": _missing_entry,
}
