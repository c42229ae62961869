"""The commands ``dcn workspace``: list the checkpoints, delete unneeded ones, find damaged ones."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from flows.cli.options import (
    TABLE_WIDTH,
    SetOption,
    WorkspaceOption,
    err,
    load,
    open_workspace,
    out,
    readable_errors,
    shown_bytes,
)
from flows.cli.terminal import TerminalProgress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flows.cli.housekeeping import Entry
    from flows.settings import Settings
    from storage import Checkpoint, Damage, Workspace

app = typer.Typer(
    help="List the checkpoints of a workspace, delete unneeded ones, find damaged ones.", no_args_is_help=True
)

Configs = Annotated[
    list[str] | None, typer.Argument(metavar="CONFIG", help="Configurations. Each --set changes all of them.")
]


@app.command(name="list")
def list_checkpoints(
    configs: Configs = None, workspace: WorkspaceOption = None, overrides: SetOption = None
) -> None:
    """List the checkpoints, with the configurations that need them, or the stages that read them."""
    with readable_errors():
        from flows.cli.housekeeping import entries, readers

        place, settings = _open(configs, workspace, overrides)
        needed = _needed(settings)
        found = entries(place)
        if settings:
            users = {
                entry.key: [name for name, keys in needed.items() if entry.key in keys] for entry in found
            }
        else:
            users = {
                key: [stage if count == 1 else f"{stage} x {count}" for stage, count in sorted(made.items())]
                for key, made in readers(found).items()
            }
        _print_table(found, "needed by" if settings else "read by", users)
        out.print(f"{_count(found)}, in {escape(place.location)}", soft_wrap=True)


@app.command()
def prune(
    configs: Configs = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Keep the checkpoints of no configuration: delete all of them.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete them, instead of listing them.")] = False,
) -> None:
    """Delete the checkpoints that `dcn run` and `dcn compare` of the configurations do not need."""
    with readable_errors():
        from flows.cli.housekeeping import entries, kept_keys
        from flows.errors import FlowError

        if bool(configs) == everything:
            raise FlowError(
                "name the configurations whose checkpoints to keep, or give --all to delete all checkpoints"
                if not everything
                else "--all deletes all checkpoints; leave out either the configurations or --all"
            )
        place, settings = _open(configs, workspace, overrides)
        needed = _needed(settings, must_be_known=True)
        found = entries(place)
        kept = kept_keys(found, {key for keys in needed.values() for key in keys})
        for entry in found:
            if entry.being_written:
                out.print(
                    f"{entry.checkpoint.stage}/{entry.key} is being written (the last time {_age(entry.age)} "
                    f"ago); it stays, and so do the checkpoints that it reads",
                    soft_wrap=True,
                )
        gone = [entry for entry in found if entry.key not in kept]
        if gone:
            _print_table(gone, "", {})
        if not yes:
            hint = "; --yes deletes them" if gone else ""
            out.print(f"{_count(gone)}, of {len(found)} can be deleted{hint}", soft_wrap=True)
            return
        for entry in gone:
            entry.checkpoint.delete()
        out.print(f"{_count(gone)}, of {len(found)} deleted", soft_wrap=True)


@app.command()
def verify(
    config: Annotated[
        str | None, typer.Argument(help="A configuration. Without one, the whole workspace is checked.")
    ] = None,
    workspace: WorkspaceOption = None,
    overrides: SetOption = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Remove damaged parts, so that the next run computes them, and only them. Not during a run.",
        ),
    ] = False,
) -> None:
    """Compare every shard and every file with its digest. The exit code is 1 if something is damaged."""
    with readable_errors():
        from storage import repair as forget

        place, settings = _open([config] if config else None, workspace, overrides)
        needed = _needed(settings)
        chosen = [
            checkpoint
            for checkpoint in place.checkpoints()
            if config is None or checkpoint.key in needed[config]
        ]
        damages, refused, old = _read_all(chosen)
        for reason in refused:
            out.print(f"[red]not read[/] {escape(reason)}", soft_wrap=True)
        for damage in (damage for found in damages.values() for damage in found):
            out.print(f"[red]damaged[/] {escape(damage.place)}: {escape(damage.reason)}", soft_wrap=True)
        if repair:
            for checkpoint, found in damages.items():
                forget(checkpoint, found)
        out.print(
            f"{len(damages)} of {len(chosen)} checkpoints {'were' if repair else 'are'} damaged",
            soft_wrap=True,
        )
        if old:
            out.print(
                f"of {old}, written by an earlier version, only arrays and records could be compared: their "
                f"files have no digests",
                soft_wrap=True,
            )
        if damages and repair:
            out.print("damaged parts are removed; the next run computes them, and only them", soft_wrap=True)
        elif damages:
            out.print("--repair removes the damaged parts, and the next run computes them", soft_wrap=True)
        if refused or (damages and not repair):
            raise typer.Exit(1)


def _read_all(chosen: list[Checkpoint]) -> tuple[dict[Checkpoint, list[Damage]], list[str], int]:
    """Check digests. Returns damages by checkpoint, errors, and how many checkpoints have no file digests."""
    from storage import StorageError, count_parts, find_damage

    damages: dict[Checkpoint, list[Damage]] = {}
    refused, old = [], 0
    with TerminalProgress(err) as bars:
        for stage, of_stage in groupby(chosen, key=lambda found: found.stage):
            checkpoints = list(of_stage)
            bars.start(stage, sum(map(count_parts, checkpoints)), 0)
            for checkpoint in checkpoints:
                try:
                    for part in find_damage(checkpoint):
                        if part:
                            damages.setdefault(checkpoint, []).extend(part)
                        bars.advance(stage, 1, "")
                    manifest = None if checkpoint in damages else checkpoint.read_manifest()
                    old += manifest is not None and manifest.complete and not manifest.content
                except StorageError as error:
                    refused.append(str(error))
            bars.end(stage)
    return damages, refused, old


def _open(
    configs: list[str] | None, workspace: str | None, overrides: list[str] | None
) -> tuple[Workspace, dict[str, Settings]]:
    """Open the workspace, and load the settings of each configuration by its name."""
    from flows.errors import FlowError
    from flows.settings.loading import validate

    if overrides and not configs:
        raise FlowError(f"--set {overrides[0]} needs a configuration to change; name one")
    settings = {config: load(config, workspace, overrides) for config in configs or []}
    named = {} if workspace is None else {"workspace": workspace}
    without = validate(named, "--workspace").workspace
    locations = {found.workspace for found in settings.values()} or {without}
    if len(locations) > 1:
        raise FlowError(
            f"the configurations name several workspaces ({', '.join(sorted(locations))}); choose one with "
            f"--workspace"
        )
    place = open_workspace(locations.pop())
    if next(place.checkpoints(), None) is None:
        raise FlowError(f"there are no checkpoints in {place.location}; name the folder with --workspace")
    return place, settings


def _needed(settings: dict[str, Settings], must_be_known: bool = False) -> dict[str, set[str]]:
    """Find the keys that each configuration needs. If some are unknown, warn or raise FlowError."""
    from flows.cli.housekeeping import needed_keys
    from flows.errors import FlowError
    from storage import Workspace

    needed = {}
    for name, chosen in settings.items():
        needed[name], known = needed_keys(chosen)
        if not known:
            message = (
                f"the data set of {name} is not indexed in the workspace "
                f"{Workspace(chosen.workspace).location} in its present state, so it is not known which "
                f"other checkpoints {name} needs; run dcn index {name} first"
            )
            if must_be_known:
                raise FlowError(message)
            err.print(f"[yellow]warning[/] {escape(message)}", soft_wrap=True)
    return needed


def _print_table(found: list[Entry], title: str, users: dict[str, list[str]]) -> None:
    figures = [Column(name, justify="right", no_wrap=True) for name in ("images", "size", "written")]
    table = Table("stage", Column("key", no_wrap=True), "state", *figures, title, box=None)
    for entry in found:
        done, rows = entry.images
        images = "" if not rows else str(rows) if done == rows else f"{done}/{rows}"
        used = escape(", ".join(users.get(entry.key, [])))
        size, age = shown_bytes(entry.size), f"{_age(entry.age)} ago"
        table.add_row(entry.checkpoint.stage, entry.key, entry.state, images, size, age, used)
    # A narrow terminal breaks the lines, but no key is cut off.
    Console(width=TABLE_WIDTH).print(table, soft_wrap=True)


def _count(found: Iterable[Entry]) -> str:
    sizes = [entry.size for entry in found]
    return f"{len(sizes)} checkpoint{'s' * (len(sizes) != 1)}, {shown_bytes(sum(sizes))}"


def _age(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
