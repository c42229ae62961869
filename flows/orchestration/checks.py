"""Mistakes that can be found before a run begins: its data set, backbone, files of weights, workspace."""

from __future__ import annotations

import errno
from contextlib import suppress

from dcn.weights.weights_file import check_weights_file
from flows.errors import name_parameters
from flows.execution.plan import stages_up_to
from flows.execution.retries import is_transient
from flows.inputs.datasets import open_dataset
from flows.settings import Settings
from storage import FileSystemError, Workspace

# The stages that read a file of weights, and the section of the settings that names it.
_SECTION_OF_WEIGHTS = {"extract": "backbone", "language": "language"}


def check_inputs(settings: Settings, stage: str | None = None) -> None:
    """Check what a run reads, as far as that takes no time: one photograph must be there, for instance.

    Make the folder of the workspace.

    Args:
        settings: settings as the user gave them.
        stage: the last stage of the run; None for all stages.

    Raises:
        UnknownModelError: there is no such backbone.
        InvalidSettingsError: settings contradict each other.
        InvalidDatasetError: the data set is not there, or is empty.
        WeightsUnavailableError: a file of weights is not there.
        FileSystemError: the folder of the workspace cannot be made.

    """
    resolved = settings.resolve()
    dataset = open_dataset(resolved.dataset)
    # A file system that fails for a moment is asked again during the run.
    with suppress(OSError), name_parameters("setting dataset.{}"):
        next(dataset.items(), None)
    for needed in stages_up_to(stage, resolved):
        if needed in _SECTION_OF_WEIGHTS:
            section = _SECTION_OF_WEIGHTS[needed]
            weights = getattr(resolved, section).weights
            with name_parameters(f"setting {section}.{{}}"):
                if weights is not None:
                    check_weights_file(weights)
    try:
        Workspace(resolved.workspace).make()
    except FileSystemError as error:
        # A missing folder is a failure that may pass where one is read, but here all of them are made.
        if error.errno == errno.ENOENT or not is_transient(error):
            raise
