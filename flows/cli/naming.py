"""The command ``name``: names of clusters by a language-image model, as a table and a file ``names.yaml``."""

from __future__ import annotations

from pathlib import Path

from rich.table import Column, Table

from dcn.language.vocabulary import read_vocabulary
from flows import progress
from flows.cli.options import err, open_workspace, out, safe
from flows.cli.terminal import TerminalProgress
from flows.errors import name_parameters
from flows.library.naming import check_new_file, name_run, names_yaml, write_names
from flows.settings import Settings


def print_names(settings: Settings, vocabulary: str, output: Path) -> None:
    """Name the clusters of a run, print the names, and write them to a file for ``report.names``.

    Args:
        settings: of a complete run.
        vocabulary: name of a vocabulary, or a text file.
        output: the file; it must not exist.

    """
    check_new_file(output)
    open_workspace(settings.workspace)
    with name_parameters("option --{}"):
        words = read_vocabulary(vocabulary)
    if words.repeated:
        err.print(f"taken once: {safe(', '.join(words.repeated))}", soft_wrap=True)
    with TerminalProgress(err) as watcher, progress.watched(watcher):
        names = name_run(settings, words)
    table = Table(
        Column("cluster", justify="right"), "name", "score", "runner-up", "score", "regions", box=None
    )
    for one in names:
        scores = f"{one.score:.2f}", f"{one.runner_up_score:.2f}"
        table.add_row(
            f"{one.cluster}", safe(one.name), scores[0], safe(one.runner_up), scores[1], f"{one.regions}"
        )
    out.print(table)
    write_names(output, names_yaml(names, str(settings.language.model), vocabulary))
    out.print(
        f"{safe(output)}: edit it, and use it as report.names, or as --names of export and predict",
        soft_wrap=True,
    )
