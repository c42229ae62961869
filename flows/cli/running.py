"""Running flows from the command line: with or without a Prefect server, progress, printed results."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from flows.cli.options import TABLE_WIDTH, err, load, out, safe

if TYPE_CHECKING:
    from flows.evaluation.results import Results
    from flows.settings import Settings

    # Calls a flow, given its name and the settings, and returns its records.
    CallFlow = Callable[[str, Settings], list[Any]]


def run_flow(name: str, config: str, workspace: str | None, overrides: list[str] | None) -> None:
    """Run the flow of one stage, or the pipeline, and print a table of its stages."""
    from flows.orchestration.checks import check_inputs

    settings = load(config, workspace, overrides)
    check_inputs(settings, None if name == "pipeline" else name)
    with _watched_flows() as call_flow:
        records = call_flow(name, settings)
    table = Table("stage", "", "seconds", "checkpoint", box=None)
    for record in records:
        how = "[dim]reused[/]" if record.reused else "[green]computed[/]"
        table.add_row(record.stage, how, f"{record.seconds:.1f}", record.key)
    out.print(table)
    if records[-1].stage == "report":
        from flows.evaluation.results import Results
        from storage import Workspace

        checkpoints = Workspace(settings.workspace)
        evaluated = checkpoints.checkpoint("report", records[-1].key).require().inputs["evaluate"]
        print_metrics(Results.from_manifest(checkpoints.checkpoint("evaluate", evaluated).require()))
        _print_page(settings, "report", records[-1].key, "report.html")


def run_comparison(name: str, settings: Settings) -> None:
    """Run the flow ``compare``, ``sweep`` or ``ladder``, print its table, and say where its page is."""
    from flows.compare.rows import comparison_table
    from flows.orchestration.checks import check_inputs

    check_inputs(settings, "evaluate")
    with _watched_flows() as call_flow:
        (record,) = call_flow(name, settings)
    print_comparison(*comparison_table(record.rows))
    chosen = [row.name for row in record.rows if row.chosen]
    if chosen:
        out.print(
            f"Without labels, the choice is [bold]{safe(chosen[0])}[/]: its label-free score is the best."
        )
    _print_page(settings, "compare", record.key, "comparison.html")


def print_comparison(titles: list[str], cells: list[list[str]]) -> None:
    """Print the table of a comparison. A narrow terminal breaks its lines, and never cuts numbers off.

    Args:
        titles: head of each column.
        cells: the texts of each row.

    """
    headers = [Column(title.replace(" ", "\n"), justify="right", no_wrap=True) for title in titles[1:]]
    table = Table(Column(no_wrap=True), *headers, box=None)
    for row in cells:
        table.add_row(*(safe(cell) for cell in row))
    Console(width=TABLE_WIDTH, emoji=False).print(table, soft_wrap=True)


def print_metrics(results: Results) -> None:
    """Print name, value and meaning of the main metrics of a run as a table, and what each step costs."""
    from flows.evaluation.costs import COST_TITLES, cost_table
    from flows.report.headline import headline_metrics

    table = Table("metric", "value", "", box=None)
    for headline in headline_metrics(results):
        value, meaning = safe(headline.value), safe(headline.meaning)
        table.add_row(safe(headline.name), f"[bold]{value}[/]", f"[dim]{meaning}[/]")
    out.print(table)
    rows = cost_table(results)
    if rows:
        costs = Table(*COST_TITLES, box=None, title="What each step costs", title_justify="left")
        for row in rows:
            costs.add_row(row.regions, row.foreground, row.classes, row.miou, row.accuracy)
        out.print(costs)


@contextmanager
def _watched_flows() -> Iterator[CallFlow]:
    """Import what runs flows: this process, or Prefect if the user names a server. Show their progress."""
    with _signals_that_end():
        with err.status("starting"), _without_garbage_collection():
            from flows import progress
            from flows.cli.terminal import TerminalProgress
            from flows.prefect_ui.server import connect, find_server

            watcher = TerminalProgress(err)
            server = find_server(watcher.warn)
            if server is None:
                from flows.orchestration.in_process import call_flow
            else:
                connect(server)
                from flows.pipeline import call_flow
        with watcher, progress.watched(watcher):
            yield call_flow


def _print_page(settings: Settings, stage: str, key: str, name: str) -> None:
    from storage import Workspace

    checkpoint = Workspace(settings.workspace).checkpoint(stage, key)
    out.print("Open", end=" ")
    out.print(safe(checkpoint.file_location(name)), style="bold", soft_wrap=True)


@contextmanager
def _signals_that_end() -> Iterator[None]:
    """Turn signals that would end this process at once into SystemExit inside of this context."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, _exit_on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_on_signal(number: int, _: object) -> None:
    """Let workers and temporary files go before the process ends."""
    with suppress(OSError):  # the terminal may be gone
        err.print("terminated; the same command continues")
    sys.exit(128 + number)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Import without garbage collection, which takes a third of the time of the imports and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
