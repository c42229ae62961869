"""The command line ``dcn``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from flows.cli.options import (
    TABLE_WIDTH,
    Config,
    SetOption,
    WorkspaceOption,
    err,
    load,
    out,
    readable_errors,
    safe,
    shown_bytes,
)
from flows.cli.workspace import app as workspace_app

if TYPE_CHECKING:
    from flows.evaluation.results import Results
    from flows.settings import Settings

app = typer.Typer(
    help="Segment photographs without labels: the Dynamic Clustering Network on a frozen ViT.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(workspace_app, name="workspace")


@app.command()
def demo(workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run the whole pipeline on eight sample photographs and make a page of the results."""
    run("sample", workspace, overrides)


@app.command()
def run(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run the whole pipeline; what is there already is reused."""
    with readable_errors():
        _execute("pipeline", config, workspace, overrides)


def _add_stage_command(stage: str, summary: str) -> None:
    @app.command(name=stage, help=f"{summary} Runs what it needs and is missing.")
    def command(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
        with readable_errors():
            _execute(stage, config, workspace, overrides)


for _stage, _summary in (
    ("index", "List the photographs of a data set and refuse the bad ones."),
    ("extract", "Cache tokens and attention of the frozen ViT."),
    ("train", "Train the network on the cached tokens."),
    ("segment", "Cut every photograph into regions."),
    ("embed", "Embed the masked crop of every region."),
    ("language", "Ask a language-image model for the classes of every patch."),
    ("evaluate", "Measure regions and classes."),
    ("report", "Make the page."),
):
    _add_stage_command(_stage, _summary)


@app.command()
def compare(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run the DCN and its rivals on one feature cache: one table, and a page with all of them."""
    with readable_errors():
        _compare("compare", load(config, workspace, overrides))


@app.command()
def sweep(
    config: Config,
    over: Annotated[
        list[str], typer.Option(help="A setting and its values: --over train.num_prototypes=3,5,7")
    ],
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run every combination of some values on one feature cache: one table, and a page."""
    with readable_errors():
        from flows.compare.variants import read_values, sweep_variants
        from flows.settings import SweepSettings

        settings = load(config, workspace, overrides)
        settings = settings.model_copy(update={"sweep": SweepSettings(over=read_values(over))})
        sweep_variants(settings)  # a mistake is said before anything starts
        _compare("sweep", settings)


@app.command()
def status(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Show what is there of each stage."""
    with readable_errors():
        from flows.execution.plan import states
        from storage import Workspace

        settings = load(config, workspace, overrides)
        table = Table("stage", "key", "state", "images", "bytes", "seconds", box=None)
        for state in states(settings):
            manifest = state.manifest
            row = [state.stage, state.key or "needs the index", state.state, "", "", ""]
            if manifest is not None and state.key is not None:
                done = (
                    manifest.rows
                    if not state.missing_shards
                    else max(0, manifest.rows - state.missing_shards * manifest.shard_rows)
                )
                size = Workspace(settings.workspace).checkpoint(state.stage, state.key).stored_bytes()
                images = f"{done}/{manifest.rows}" if manifest.rows else ""
                row[3:] = [images, shown_bytes(size), f"{manifest.seconds:.1f}"]
            table.add_row(*row)
        out.print(table)


@app.command()
def results(
    config: Config,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="All metrics, machine-readable.")] = False,
) -> None:
    """Print the metrics of a complete run."""
    with readable_errors():
        from flows.cli.results import complete_manifests, manifests_json
        from flows.evaluation.results import Results

        manifests = complete_manifests(load(config, workspace, overrides))
        if as_json:
            found = manifests_json(manifests)
            sys.stdout.write(json.dumps(found, indent=1, allow_nan=False) + "\n")
        else:
            _print_metrics(Results.from_manifest(manifests["evaluate"]))


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Photographs.")],
    model: Annotated[Path, typer.Option(help="A train checkpoint, or the dcn.safetensors in it.")],
    output: Annotated[Path, typer.Option(help="Folder for label maps and overlays.")],
    weights: Annotated[Path | None, typer.Option(help="Local weights of the backbone.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Segment photographs that are in no data set, with a trained model."""
    with readable_errors():
        from flows.cli.predict import predict as predict_photographs

        refused = 0
        for prediction in predict_photographs(images, model, output, weights, device):
            if prediction.reason:
                refused += 1
                err.print(
                    f"[red]refused[/] {safe(prediction.image)}: {safe(prediction.reason)}",
                    soft_wrap=True,
                )
            else:
                out.print(f"{safe(prediction.labels)}  {prediction.num_regions} regions", soft_wrap=True)
        if refused:
            raise typer.Exit(1)


@app.command()
def export(
    config: Config,
    output: Annotated[Path, typer.Option(help="Folder for the label maps.")],
    what: Annotated[Literal["regions", "semantic"], typer.Option(help="Which labels.")] = "semantic",
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Write one palette PNG per photograph, named by its id, at its original size."""
    with readable_errors():
        from flows.cli.export import export_labels

        count = export_labels(load(config, workspace, overrides), what, output)
        out.print(f"{count} label maps in {safe(output)}", soft_wrap=True)


def _execute(name: str, config: str, workspace: str | None, overrides: list[str] | None) -> None:
    settings = load(config, workspace, overrides)
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
        _print_metrics(Results.from_manifest(checkpoints.checkpoint("evaluate", evaluated).require()))
        _print_page(settings, "report", records[-1].key, "report.html")


def _compare(name: str, settings: Settings) -> None:
    """Run the flow ``compare`` or ``sweep``, print its table, and say where its page is."""
    from flows.compare.rows import comparison_table

    with _watched_flows() as flows:
        (record,) = getattr(flows, name)(**flows.sections(settings))
    titles, cells = comparison_table(record.rows)
    headers = [Column(title.replace(" ", "\n"), justify="right", no_wrap=True) for title in titles[1:]]
    table = Table(Column(no_wrap=True), *headers, box=None)
    for row in cells:
        table.add_row(*(safe(cell) for cell in row))
    # A narrow terminal breaks the lines; it must not cut numbers off.
    Console(width=TABLE_WIDTH, emoji=False).print(table, soft_wrap=True)
    _print_page(settings, "compare", record.key, "comparison.html")


@contextmanager
def _watched_flows() -> Iterator[Any]:
    """The module of the flows; what runs inside shows its progress in the terminal."""
    _configure_prefect()
    signal.signal(signal.SIGTERM, _end)
    with err.status("starting Prefect"), _uncollected(), ThreadPoolExecutor(1) as pool:
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        # Without a server of the user's, Prefect starts one for this process, in a process of its own, while
        # this one imports PyTorch and the rest; what starts it is imported first, for threads that import
        # wait for each other. And a flow waits up to a second for the end of its heartbeat, by which a server
        # that stays learns that it died; one that ends with the flow needs none.
        temporary = PREFECT_API_URL.value() is None
        if temporary:
            import prefect.server.api.server  # noqa: F401
        quiet = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if temporary else {}
        starting = pool.submit(get_client, sync_client=True)
        from flows import pipeline, progress
        from flows.cli.terminal import TerminalProgress

        starting.result()
    with temporary_settings(quiet), TerminalProgress(err) as watcher, progress.watched(watcher):
        yield pipeline


def _print_page(settings: Settings, stage: str, key: str, name: str) -> None:
    from storage import Workspace

    checkpoint = Workspace(settings.workspace).checkpoint(stage, key)
    out.print("Open", end=" ")
    out.print(safe(checkpoint.file_location(name)), style="bold", soft_wrap=True)


def _end(signal_number: int, _: object) -> None:
    """An end like any other, at which the temporary server is stopped; else it would stay behind."""
    err.print("terminated; the same command continues")
    sys.exit(128 + signal_number)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Imports, whose objects stay: a third of their time, and most of the exit's, is a search for garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _configure_prefect() -> None:
    """Defaults for a run without a server of its own. What the user has set stays."""
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # The default of 20 seconds is tight on a busy machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # A temporary server writes each change of a task in a transaction of its own, and SQLite refuses what
        # would write beside it: Prefect tries that again after two seconds. So they are written together:
        # every five seconds, and at the end. Events, which nobody can watch there, would be written at the
        # same moments; on a busy machine a run ended without some of them, so none are kept.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1000",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
        # The command line shows progress and errors itself.
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _print_metrics(results: Results) -> None:
    from flows.report.headline import headline_metrics

    table = Table("metric", "value", "", box=None)
    for headline in headline_metrics(results):
        value, meaning = safe(headline.value), safe(headline.meaning)
        table.add_row(safe(headline.name), f"[bold]{value}[/]", f"[dim]{meaning}[/]")
    out.print(table)
