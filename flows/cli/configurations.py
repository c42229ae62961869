"""The command ``dcn settings``: tables of the settings in a terminal."""

from __future__ import annotations

from dataclasses import replace

from rich.table import Column, Table

from dcn.did_you_mean import did_you_mean
from flows.cli.options import out, safe
from flows.errors import FlowError
from flows.settings.catalog import Section, all_sections


def print_settings(name: str | None) -> None:
    """Print the settings of all sections, of one section, or one setting.

    Args:
        name: dotted name of a section or a setting; None for all.

    Raises:
        FlowError: there is no such section and no such setting.

    """
    for section in _find(name):
        entry = f", name: {section.entry}" if section.entry else ""
        out.print(f"[bold]{safe(section.place or 'at the top')}{safe(entry)}[/]")
        if section.meaning:
            out.print(_text(section.meaning), style="dim")
        table = Table(Column("setting", no_wrap=True), "value", "default", "meaning", box=None)
        for setting in section.settings:
            shown = (setting.name, setting.value, setting.default, setting.meaning)
            table.add_row(*map(_text, shown))
        if section.settings:
            out.print(table)
        out.print()


def _find(name: str | None) -> list[Section]:
    sections = all_sections()
    if name is None:
        return sections
    chosen = [section for section in sections if f"{section.place}.".startswith(f"{name}.")]
    for section in [] if chosen else sections:
        named = tuple(setting for setting in section.settings if section.full_name(setting.name) == name)
        if named:
            chosen.append(replace(section, settings=named))
    if not chosen:
        known = [section.full_name(setting.name) for section in sections for setting in section.settings]
        known += [section.place for section in sections if section.place]
        known += [setting.name for section in sections for setting in section.settings]
        raise FlowError(f"there is no setting or section {name}{did_you_mean(name, known)}")
    return chosen


def _text(markdown: str) -> str:
    return safe(markdown.replace("`", ""))
