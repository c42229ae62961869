"""The page of all settings: one table for each section, data set, segmenter and clusterer."""

from __future__ import annotations

from flows.settings.catalog import CHOICES, Section, all_sections, entry_name

_START = """\
<!-- `python -m docs.generator` writes this page. Change the code, not the page. -->

# Settings

A configuration is a YAML file with these sections. An unknown name is an error. `--set section.name=value`
changes one setting on the command line: `dcn run sample --set train.num_prototypes=3`. *Empty* means that the
setting is `null` or not given. `dcn settings` prints this page in a terminal, and `dcn settings train` one
section of it. `dcn init FOLDER` writes a commented configuration for a folder of photographs.

In every path, `~` and variables such as `$HOME` are replaced.

A setting is part of the key of every checkpoint whose content it changes. Settings that change no result
(`runner`, `workspace`, `shard_images`, `backbone.batch_size`, ...) are part of no key.
"""


def settings_page() -> str:
    """The page as Markdown."""
    parts = [_START]
    chosen = set()
    for section in all_sections():
        level = "#" * (2 + section.place.count("."))
        if not section.entry:
            parts.append(f"{level} {section.place or 'At the top'}\n")
        else:
            if section.place not in chosen:
                chosen.add(section.place)
                names = ", ".join(f"`{entry_name(entry)}`" for entry in CHOICES[section.place])
                parts.append(f"{level} {section.place}\n")
                parts.append(f"`{section.place}.name` is one of {names}. Each has its own settings.\n")
            parts.append(f"{level}# {section.place}.name: {section.entry}\n")
        if section.meaning:
            parts.append(section.meaning + "\n")
        parts.append(_table(section) if section.settings else "It has no other settings.\n")
    return "\n".join(parts)


def _table(section: Section) -> str:
    rows = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    for setting in section.settings:
        shown = [f"`{setting.name}`", setting.value, setting.default, setting.meaning]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in shown) + " |")
    return "\n".join(rows) + "\n"
