"""The command line ``dcn``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column, Table

from flows.cli.options import (
    TABLE_WIDTH,
    Config,
    SetOption,
    WorkspaceOption,
    load,
    open_workspace,
    out,
    readable_errors,
    safe,
    shown_bytes,
)
from flows.cli.running import print_metrics, run_comparison, run_flow
from flows.cli.workspace import app as workspace_app
from flows.stages import STAGE_TABLE

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(workspace_app, name="workspace")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"dcn {version('dynamic-clustering-network')}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - the callback of the option reads it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Segment photographs without labels, with the Dynamic Clustering Network on a frozen ViT."""
    from flows.execution.process import prepare_process

    prepare_process()


@app.command()
def demo(workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run the whole pipeline on eight sample photographs and make a page of the results."""
    run("sample", workspace, overrides)


@app.command()
def run(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run the whole pipeline. Complete stages are reused."""
    with readable_errors():
        run_flow("pipeline", config, workspace, overrides)


def _add_stage_command(stage: str, description: str) -> None:
    @app.command(name=stage, help=f"{description}\n\nRun the stages before it first if they are missing.")
    def command(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
        with readable_errors():
            run_flow(stage, config, workspace, overrides)


for _entry in STAGE_TABLE:
    _add_stage_command(_entry.name, _entry.description)


@app.command()
def compare(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run several segmenters on one feature cache. Print a table and make a page that compares them."""
    with readable_errors():
        from flows.compare.variants import segmenter_variants

        settings = load(config, workspace, overrides)
        segmenter_variants(settings)  # a mistake is said before anything starts
        run_comparison("compare", settings)


@app.command()
def sweep(
    config: Config,
    over: Annotated[
        list[str], typer.Option(help="Setting and its values: --over train.num_prototypes=3,5,7.")
    ],
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Run every combination of some values of settings. Print a table and make a page that compares them."""
    with readable_errors():
        from flows.compare.variants import read_values, sweep_variants
        from flows.settings import SweepSettings

        settings = load(config, workspace, overrides)
        settings = settings.model_copy(update={"sweep": SweepSettings(over=read_values(over))})
        sweep_variants(settings)  # a mistake is said before anything starts
        run_comparison("sweep", settings)


@app.command()
def ladder(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Run the steps from the paper's method to ours. Print a table and make a page.

    Each step is run with the seeds of compare.seeds, or with five.
    """
    with readable_errors():
        from flows.compare.ladder import ladder_variants

        settings = load(config, workspace, overrides)
        ladder_variants(settings)  # a mistake is said before anything starts
        run_comparison("ladder", settings)


@app.command()
def settings(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A section (train) or a setting (train.iterations).", show_default="all settings"
        ),
    ] = None,
) -> None:
    """Print the settings: their values, their defaults and what they mean."""
    with readable_errors():
        from flows.cli.configurations import print_settings

        print_settings(name)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder of photographs.")]) -> None:
    """Print a commented configuration for a folder of photographs: dcn init FOLDER > mine.yaml."""
    with readable_errors():
        from flows.settings.starter import starting_config

        sys.stdout.write(starting_config(folder))


@app.command()
def status(config: Config, workspace: WorkspaceOption = None, overrides: SetOption = None) -> None:
    """Show the state of every stage in the workspace."""
    with readable_errors():
        from flows.execution.plan import STAGES, states

        settings = load(config, workspace, overrides)
        place = open_workspace(settings.workspace)
        table = Table("stage", Column("key", no_wrap=True), "state", "images", "bytes", "seconds", box=None)
        remarks = []
        for state in states(settings):
            manifest = state.manifest
            row = [state.stage, state.key or "needs the index", state.state, "", "", ""]
            if manifest is not None and state.key is not None:
                size = place.checkpoint(state.stage, state.key).stored_bytes()
                images = f"{manifest.rows - state.missing_images}/{manifest.rows}" if manifest.rows else ""
                row[3:] = [images, shown_bytes(size), f"{manifest.seconds:.1f}"]
                if manifest.complete and (remark := STAGES[state.stage].remark(manifest)):
                    remarks.append(f"{state.stage} {remark}")
            table.add_row(*row)
        # A narrow terminal breaks the lines, but no key is cut off.
        Console(width=TABLE_WIDTH).print(table, soft_wrap=True)
        out.print(f"in {safe(place.location)}", soft_wrap=True)
        for remark in remarks:
            out.print(safe(remark), soft_wrap=True)


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

        settings = load(config, workspace, overrides)
        open_workspace(settings.workspace)
        manifests = complete_manifests(settings)
        if as_json:
            found = manifests_json(manifests)
            sys.stdout.write(json.dumps(found, indent=1, allow_nan=False) + "\n")
        else:
            print_metrics(Results.from_manifest(manifests["evaluate"]))


@app.command()
def predict(
    photographs: Annotated[
        list[str], typer.Argument(help="Files, folders with their subfolders, or quoted patterns ('*.jpg').")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A trained model: a configuration, a workspace, a checkpoint of train or its key, a model "
            "file, a folder or an id of the Hugging Face Hub. Without it, the network as it starts, on the "
            "backbone focus-s14."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("predicted"),
    weights: Annotated[Path | None, typer.Option(help="Local file with the weights of the backbone.")] = None,
    device: Annotated[str, typer.Option(help="Device of PyTorch: auto, cpu, cuda, ...")] = "auto",
    names: Annotated[Path | None, typer.Option(help="Names of the classes, a file names.yaml.")] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Segment photographs outside a data set: regions, classes, overlays and a table of regions."""
    with readable_errors():
        from flows.cli.predict import print_predictions

        source = model, output, weights, device, workspace, overrides or [], names
        if print_predictions(photographs, *source):
            raise typer.Exit(1)


@app.command(name="name")
def name_clusters(
    config: Config,
    vocabulary: Annotated[
        str,
        typer.Option(
            help="Words to choose from: voc, coco, ade20k, lvis, or a text file with one name in each line, "
            "and synonyms after commas."
        ),
    ] = "coco",
    output: Annotated[Path, typer.Option(help="File of the names; it must not exist.")] = Path("names.yaml"),
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Name the clusters of a complete run by a language-image model (language.model), into names.yaml."""
    with readable_errors():
        from flows.cli.naming import print_names

        print_names(load(config, workspace, overrides), vocabulary, output)


@app.command(name="export-model")
def export_model(
    model: Annotated[str, typer.Argument(help="A configuration, or anything that predict takes as a model.")],
    file_format: Annotated[
        Literal["safetensors", "onnx"],
        typer.Option("--format", help="safetensors: for Python and the Hugging Face Hub. onnx: graphs."),
    ] = "safetensors",
    output: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("model"),
    weights: Annotated[Path | None, typer.Option(help="Local file with the weights of the backbone.")] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Write a trained model to take away: one file with network and classes, or ONNX graphs."""
    with readable_errors():
        from flows.errors import name_parameters
        from flows.library import load as load_model
        from flows.library.exporting import EXPORTS

        with name_parameters("option --{}"):
            found = load_model(
                model, workspace=workspace, overrides=overrides or [], weights=weights, device="cpu"
            )
            for line in EXPORTS[file_format](found, output):
                out.print(safe(line), soft_wrap=True)


@app.command()
def export(
    config: Config,
    output: Annotated[Path, typer.Option(help="Folder for the files.")],
    what: Annotated[
        Literal["regions", "semantic"], typer.Option(help="Labels to write: regions or classes.")
    ] = "semantic",
    formats: Annotated[
        str, typer.Option("--format", help="Formats, separated by commas: png, coco, csv.")
    ] = "png",
    names: Annotated[
        Path | None, typer.Option(help="Names of clusters, a file names.yaml (report.names).")
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
) -> None:
    """Write the regions or the classes of every photograph for other programs.

    png is a palette PNG of the original size for each photograph, coco a file coco.json with all masks, and
    csv a table regions.csv with a line for each region.
    """
    with readable_errors():
        from flows.cli.export import export_labels

        chosen = [name.strip() for name in formats.split(",")]
        settings = load(config, workspace, overrides)
        open_workspace(settings.workspace)
        if names is not None:
            report = settings.report.model_copy(update={"names": names})
            settings = settings.model_copy(update={"report": report})
        count = export_labels(settings, what, output, chosen)
        out.print(f"{count} photographs as {safe(', '.join(chosen))} in {safe(output)}", soft_wrap=True)
