"""The page of the command line: one section for each command of ``dcn``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo

from flows.cli.app import app, run

_START = """\
<!-- `python -m docs.generator` writes this page. Change the code, not the page. -->

# Command line

`dcn COMMAND --help` prints the help of a command. Results go to standard output; progress, warnings and
errors go to standard error. The exit code is 0 after success, 1 after an error, 2 after a wrong command line
and 130 after an interruption. After an interruption, the same command continues where the run stopped.
`dcn --version` prints the version.

## Shared arguments and options

Most commands have these; the usage line of a command shows which. `--set` and `--over` may be repeated.
"""


def command_line_page() -> str:
    """The page as Markdown."""
    return "\n".join([_START, _table(_shared_rows()), *_commands(app, "dcn")])


def _shared_rows() -> list[str]:
    """Rows of the parameters that most commands have."""
    return [row for _, _, row in _parameters(run)]


def _commands(group: typer.Typer, prefix: str) -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        yield from _command(f"{prefix} {name}", command.help, command.callback)
    for subgroup in group.registered_groups:
        assert subgroup.typer_instance is not None
        yield from _commands(subgroup.typer_instance, f"{prefix} {subgroup.name}")


def _command(name: str, help_text: str | None, function: Callable[..., Any]) -> Iterator[str]:
    parameters = list(_parameters(function))
    usage = [shown if required else f"[{shown}]" for shown, required, _ in parameters]
    own = [row for _, _, row in parameters if row not in _shared_rows()]
    yield f"## {name}\n"
    yield f"{help_text or inspect.getdoc(function)}\n"
    yield f"```bash\n{' '.join([name, *usage])}\n```\n"
    if own:
        yield _table(own)


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, bool, str]]:
    """Each parameter of a command: its text in the usage line, whether it is required, and its row."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])
        required = parameter.default is inspect.Parameter.empty
        empty = parameter.default is None or parameter.default is False
        default = "required" if required else "" if empty else f"`{parameter.default}`"
        if isinstance(info.show_default, str):  # what the help says instead
            default = info.show_default
        if isinstance(info, ArgumentInfo):
            several = any(get_origin(choice) is list for choice in (kind, *get_args(kind)))
            shown = (info.metavar or name.upper()) + "..." * several
        else:
            # typer takes the first name in Option("--name") as a default.
            words = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
            option = words[0] if words else f"--{name.replace('_', '-')}"
            if parameter.default is True:
                option += f"/--no-{name.replace('_', '-')}"
            shown = option if kind is bool else f"{option} {info.metavar or _value(kind, name)}"
        yield shown, required, f"| `{_cell(shown)}` | {default} | {_cell(info.help or '')} |"


def _value(kind: Any, name: str) -> str:
    return "|".join(get_args(kind)) if get_origin(kind) is Literal else name.upper()


def _table(rows: list[str]) -> str:
    return "\n".join(["| argument or option | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
