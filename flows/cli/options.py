"""What every command of ``dcn`` has: its options, where it writes, and mistakes that are sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from flows.printable import printable, printable_line

if TYPE_CHECKING:
    from flows.settings import Settings
    from storage import Workspace

# Results go to standard output; everything else that a person reads while waiting goes to standard error.
# A file that is called :boom:.jpg is shown as that.
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)

_UNAUTHORIZED = 401
# No table is as wide. Each takes the width that it needs.
TABLE_WIDTH = 10_000

Config = Annotated[
    str, typer.Argument(help="YAML file, or the name of a packaged configuration (sample, voc2012, ...).")
]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        help="Where the checkpoints are: a folder, or s3://BUCKET/PREFIX.",
        show_default="that of the configuration, else workspace",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: --set train.num_prototypes=3.", metavar="NAME=VALUE"),
]


def load(config: str, workspace: str | None, overrides: list[str] | None) -> Settings:
    from flows.settings.loading import load_settings

    return load_settings(config, overrides, workspace)


def open_workspace(location: str) -> Workspace:
    """Open a workspace to read it.

    Raises:
        FlowError: it does not exist.

    """
    from flows.errors import FlowError
    from storage import Workspace

    workspace = Workspace(location)
    if not workspace.exists():
        raise FlowError(
            f"there is no workspace {workspace.location}; run the configuration first, or name another "
            f"workspace with --workspace"
        )
    return workspace


def safe(value: object) -> str:
    """A name or a text from outside, as one line that is neither markup nor a command to the terminal."""
    return escape(printable_line(str(value)))


def shown_bytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@contextmanager
def readable_errors() -> Iterator[None]:
    """A mistake of the user, or of the world, is a sentence; a traceback is a bug of ours."""
    from dcn.errors import DCNError
    from flows.errors import FlowError, describe_error
    from storage.errors import StorageError

    def fail(message: str) -> typer.Exit:
        err.print(f"[bold red]error[/] {escape(printable(message))}", soft_wrap=True)
        return typer.Exit(1)

    if not _has_current_folder():  # PyTorch's library of matrix products would end the process
        raise fail("the current folder does not exist any more; change to another one")
    try:
        yield
    except (DCNError, FlowError, StorageError) as error:
        raise fail(describe_error(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or 'the system'}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        err.print("interrupted; the same command continues")
        raise typer.Exit(130) from None
    except Exception as error:
        from httpx import HTTPStatusError, TransportError

        if isinstance(error, TransportError):
            raise fail(
                f"the Prefect server does not answer any more ({error}). What is finished stays; the same "
                f"command continues"
            ) from None
        if isinstance(error, HTTPStatusError) and error.response.status_code == _UNAUTHORIZED:
            raise fail(
                "the Prefect server wants another password. Set PREFECT_API_AUTH_STRING to it"
            ) from None
        raise


def _has_current_folder() -> bool:
    try:
        return bool(Path.cwd())
    except FileNotFoundError:
        return False
