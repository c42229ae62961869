"""Running flows from the command line: start Prefect, show progress, print the results."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from flows.cli.options import TABLE_WIDTH, err, load, out, safe

if TYPE_CHECKING:
    from flows.evaluation.results import Results
    from flows.settings import Settings


def run_flow(name: str, config: str, workspace: str | None, overrides: list[str] | None) -> None:
    """Run the flow of one stage, or the pipeline, and print a table of its stages."""
    from flows.execution.checks import check_inputs

    settings = load(config, workspace, overrides)
    check_inputs(settings, None if name == "pipeline" else name)
    with _watched_flows() as flows:
        flow = flows.FLOWS.get(name, flows.pipeline)
        records = flow(**flows.sections(settings))
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
    """Run the flow ``compare`` or ``sweep``, print its table, and say where its page is."""
    from flows.compare.rows import comparison_table
    from flows.execution.checks import check_inputs

    check_inputs(settings, "evaluate")
    with _watched_flows() as flows:
        (record,) = getattr(flows, name)(**flows.sections(settings))
    titles, cells = comparison_table(record.rows)
    headers = [Column(title.replace(" ", "\n"), justify="right", no_wrap=True) for title in titles[1:]]
    table = Table(Column(no_wrap=True), *headers, box=None)
    for row in cells:
        table.add_row(*(safe(cell) for cell in row))
    # A narrow terminal breaks the lines of a wide table; it must not cut numbers off.
    Console(width=TABLE_WIDTH, emoji=False).print(table, soft_wrap=True)
    chosen = [row.name for row in record.rows if row.chosen]
    if chosen:
        out.print(
            f"Without labels, the choice is [bold]{safe(chosen[0])}[/]: its label-free score is the best."
        )
    _print_page(settings, "compare", record.key, "comparison.html")


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
def _watched_flows() -> Iterator[Any]:
    """Import the module of the flows. Flows that run inside of the context show progress in the terminal."""
    from flows.prefect_ui.settings import (
        quiet_temporary_server,
        set_command_line_defaults,
        uses_temporary_server,
    )

    set_command_line_defaults()
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    with err.status("starting Prefect"), _without_garbage_collection(), ThreadPoolExecutor(1) as pool:
        from prefect.client.orchestration import get_client

        if uses_temporary_server():
            # The server starts in a process of its own while this process imports the flows. Import its
            # starter first, because threads that import wait for each other.
            import prefect.server.api.server  # noqa: F401
        starting = pool.submit(get_client, sync_client=True)
        from flows import pipeline, progress
        from flows.cli.terminal import TerminalProgress

        starting.result()
    with quiet_temporary_server(), TerminalProgress(err) as watcher, progress.watched(watcher):
        yield pipeline


def _print_page(settings: Settings, stage: str, key: str, name: str) -> None:
    from storage import Workspace

    checkpoint = Workspace(settings.workspace).checkpoint(stage, key)
    out.print("Open", end=" ")
    out.print(safe(checkpoint.file_location(name)), style="bold", soft_wrap=True)


def _exit_on_sigterm(signal_number: int, _: object) -> None:
    """Turn SIGTERM into SystemExit, so that the temporary server is stopped."""
    err.print("terminated; the same command continues")
    sys.exit(128 + signal_number)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Import without garbage collection, which takes a third of the time of the imports and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
