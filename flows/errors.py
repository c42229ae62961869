"""Errors of the orchestration that a person can act on, and how every error becomes a sentence.

``dcn`` and ``storage`` raise errors that name parameters. Here they get the name of the setting, and the
command that helps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class FlowError(Exception):
    """Base of every error of the flows and of the command line."""


class InvalidSettingsError(FlowError):
    """A configuration, an override or a parameter is wrong."""


class EmptyDatasetError(FlowError):
    """No photograph of the data set can be used."""


class DatasetChangedError(FlowError):
    """The data set is no longer the one that was indexed."""


class InvalidSummaryError(FlowError):
    """The summary of a checkpoint was written by other software."""


class ClusterError(FlowError):
    """A Dask cluster cannot be started or reached, or was lost."""


class PrefectError(FlowError):
    """Prefect refuses its settings, or the server that the user names does not answer."""


class StoppedError(FlowError):
    """Shards were left for the next run, because other shards failed or the run was interrupted."""


@contextmanager
def name_parameters(pattern: str) -> Iterator[None]:
    """Note on errors of ``dcn`` where the user sets the parameter that they name.

    The note appears in tracebacks and in :func:`describe_error`. Of nested contexts the innermost one counts.

    Args:
        pattern: place of the parameter, with ``{}`` in place of its name.

    Example:
        >>> with name_parameters("setting backbone.{}"):
        ...     Backbone.from_preset(name, weights)  # "there is no file x.pth" (setting backbone.weights)

    """
    from dcn.errors import DCNError

    try:
        yield
    except DCNError as error:
        if error.parameter is not None and not getattr(error, "__notes__", None):
            error.add_note(pattern.format(error.parameter))
        raise


def describe_error(error: BaseException) -> str:
    """Write an error for a person: what is wrong, the setting to change, the command that helps."""
    from storage.errors import CheckpointDamagedError, CheckpointMissingError

    places = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    hint = ""
    if isinstance(error, CheckpointDamagedError):
        hint = ". `dcn workspace verify --repair` forgets what is damaged, and the next run computes it again"
    elif isinstance(error, CheckpointMissingError) and error.stage is not None:
        hint = f". `dcn {error.stage}` computes it"
    return f"{error}{places}{hint}"
