"""What is wrong with the values of a configuration, in sentences that say what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dcn.did_you_mean import did_you_mean
from flows.settings.catalog import CHOICES, Section, all_sections, entry_name

_PACKAGE = "dynamic-clustering-network"


@dataclass(frozen=True)
class _Place:
    """Where a mistake is: the dotted name of a setting, and the entry of a table that it belongs to."""

    name: str
    entry: str

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def setting(self) -> str:
        return self.name.rpartition(".")[2]


def describe_mistakes(error: ValidationError) -> str:
    """Write one line for each wrong setting: its name, the problem, and what to write."""
    return "\n".join(map(_line, error.errors()))


def _line(problem: ErrorDetails) -> str:
    place = _find_place(problem)
    return f"{place.name}: {_SENTENCES.get(problem['type'], _wrong_value)(place, problem)}"


def _find_place(problem: ErrorDetails) -> _Place:
    # The location contains the entry of a table (dataset.voc2012.root). The user wrote dataset.root.
    parts = [str(part) for part in problem["loc"]]
    entry = ""
    for choice in CHOICES:
        of_choice = choice.split(".")
        if parts[: len(of_choice)] == of_choice and len(parts) > len(of_choice):
            entry = parts.pop(len(of_choice))
    if problem["type"].startswith("union_tag"):
        parts.append("name")
    return _Place(".".join(parts), entry)


def _wrong_value(_: _Place, problem: ErrorDetails) -> str:
    return f"{problem['msg']}, not {problem['input']!r}"


def _unknown_setting(place: _Place, _: ErrorDetails) -> str:
    # It is a typing error, in the wrong section, or of a newer version. The user can tell which.
    sections = all_sections()
    here = [setting.name for found in sections if _holds(found, place) for setting in found.settings]
    if not place.section:
        here += [found.place for found in sections if found.place and "." not in found.place]
    elsewhere = [
        found.full_name(setting.name)
        for found in sections
        for setting in found.settings
        if setting.name == place.setting
    ]
    same_name = f"; did you mean {' or '.join(dict.fromkeys(elsewhere))}?" if elsewhere else ""
    hint = same_name or did_you_mean(place.setting, here)
    return f"dcn {version(_PACKAGE)} has no such setting{hint}"


def _missing_setting(place: _Place, _: ErrorDetails) -> str:
    settings = (setting for found in all_sections() if _holds(found, place) for setting in found.settings)
    known = next((setting for setting in settings if setting.name == place.setting), None)
    value = known.value.partition(" ")[0].upper() if known else "VALUE"
    meaning = f" ({known.meaning.rstrip('.')})" if known else ""
    *outer, name = place.name.split(".")
    text = f"{name}: {value}"
    for section in reversed(outer):
        text = f"{section}: {{{text}}}"
    return f"it has no value; write {text}, or --set {place.name}={value}{meaning}"


def _missing_entry(place: _Place, _: ErrorDetails) -> str:
    return f"it has no value; write one of {', '.join(_entries(place))}"


def _unknown_entry(place: _Place, problem: ErrorDetails) -> str:
    wanted = str(problem["ctx"]["tag"])
    known = _entries(place)
    return f"there is no {wanted!r}; choose from {', '.join(known)}{did_you_mean(wanted, known)}"


def _entries(place: _Place) -> list[str]:
    return [entry_name(entry) for entry in CHOICES[place.section]]


def _holds(section: Section, place: _Place) -> bool:
    return section.place == place.section and section.entry in ("", place.entry)


# By the type of pydantic's error; all others have a value, and pydantic's message says what is wrong with it.
_SENTENCES: dict[str, Callable[[_Place, ErrorDetails], str]] = {
    "extra_forbidden": _unknown_setting,
    "missing": _missing_setting,
    "union_tag_invalid": _unknown_entry,
    "union_tag_not_found": _missing_entry,
}
