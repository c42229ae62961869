"""The arrays of a run as dask arrays, with the ids of the photographs beside their rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from flows.evaluation.protocols.kmeans import SEMANTIC
from flows.execution.plan import find_job
from flows.inputs.image_index import open_index
from flows.settings.loading import load_settings
from flows.stage import Job
from storage.arrays import ArrayReader

if TYPE_CHECKING:
    from dask.array import Array


class Run:
    """The arrays of a run. Row ``i`` of every array belongs to the photograph ``ids[i]``.

    Arrays are dask arrays: nothing is read before ``compute()``, and slices read only their rows. A part that
    is damaged is an error.

    Args:
        job: the run. Its ``index`` is complete.

    Attributes:
        ids: ``[N]`` id of each photograph.

    Example::

        run = dcn.open_run("mine.yaml")
        first = run.tokens[0].compute()  # [n, d] of the photograph run.ids[0]

    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.ids: npt.NDArray[np.str_] = np.array([image.item.id for image in open_index(job).images()])

    def __repr__(self) -> str:
        return f"Run({len(self.ids)} photographs in {self._job.settings.workspace})"

    def row(self, photograph: str) -> int:
        """Return the row of a photograph.

        Raises:
            KeyError: the run has no photograph with this id.

        """
        rows = np.flatnonzero(self.ids == photograph)
        if not len(rows):
            raise KeyError(f"the run has no photograph {photograph!r}; ids lists them")
        return int(rows[0])

    @cached_property
    def tokens(self) -> Array:
        """``[N, n, d]`` float16, tokens of the patches."""
        return self._array("extract", "tokens")

    @cached_property
    def attention(self) -> Array:
        """``[N, h, n]`` float16, attention of the CLS token to the patches."""
        return self._array("extract", "attention")

    @cached_property
    def assignment(self) -> Array:
        """``[N, n, k]`` float16, soft assignment of the patches to the regions."""
        return self._array("segment", "assignment")

    @cached_property
    def area(self) -> Array:
        """``[N, k]`` in pixels; 0 if a region does not occur."""
        return self._array("segment", "area")

    @cached_property
    def box(self) -> Array:
        """``[N, k, 4]`` top, left, bottom, right in pixels."""
        return self._array("segment", "box")

    @cached_property
    def foreground(self) -> Array:
        """``[N, k]`` whether a region is foreground."""
        return self._array("segment", "foreground")

    @cached_property
    def embedding(self) -> Array:
        """``[N, k, d]`` float32, embeddings of regions before any whitening; zeros where there is none."""
        return self._array("embed", "embedding")

    @cached_property
    def classes(self) -> npt.NDArray[np.int16]:
        """``[N, k]`` class of every region; -1 if it does not occur, or its photograph was not evaluated."""
        classes: npt.NDArray[np.int16] = self._job.checkpoint("evaluate").read_values(SEMANTIC)
        return classes

    def _array(self, stage: str, name: str) -> Array:
        from dask.array import from_array

        checkpoint = self._job.checkpoint(stage)
        rows = checkpoint.require().shard_rows
        reader = _Rows(checkpoint.array(name))
        chunks = (rows, *reader.shape[1:])
        own_name = f"{stage}-{checkpoint.key}-{name}"
        array: Array = from_array(reader, chunks, name=own_name, fancy=False, lock=False)
        return array


class _Rows:
    """An array of a checkpoint as dask reads it: by slices of rows."""

    def __init__(self, reader: ArrayReader) -> None:
        self._reader = reader
        self.shape, self.dtype, self.ndim = reader.shape, reader.dtype, len(reader.shape)

    def __getitem__(self, key: tuple[slice | int, ...]) -> npt.NDArray[Any]:
        rows = np.arange(self.shape[0])[key[0]]
        values = self._reader.read_ahead(np.atleast_1d(rows)).result()
        if rows.ndim == 0:  # dask joins the slice of a part and the index of one row
            return np.asarray(values[0][key[1:]])
        return np.asarray(values[(slice(None), *key[1:])])


def open_run(config: str | Path, *, workspace: str | None = None, overrides: Sequence[str] = ()) -> Run:
    """Open the arrays that a run left in its workspace.

    Args:
        config: path of a YAML file, or the name of a packaged configuration.
        workspace: workspace of the run; None takes that of the configuration.
        overrides: changes of the configuration, each ``section.name=value``.

    Raises:
        CheckpointMissingError: the photographs are not indexed yet. An array whose stage is not complete
            raises this error when it is asked for.

    Example::

        run = dcn.open_run("mine.yaml")
        run.ids, run.tokens, run.assignment, run.embedding

    """
    return Run(find_job(load_settings(config, list(overrides), workspace)))
