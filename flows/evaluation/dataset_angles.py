"""Angles of all tokens of a data set (section 1), by two passes of Dask over the cached arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from dcn.evaluation.angles import class_angles, class_centers, class_sums, inter_class_angle
from storage import Checkpoint, Manifest

# Shards in one graph. A single graph of a million photographs would have tens of thousands of tasks.
_SHARDS_TOGETHER = 1024
Pair = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def dataset_angles(
    extract: Checkpoint, classes: Checkpoint, manifest: Manifest, shards: Sequence[int], num_classes: int
) -> dict[str, float]:
    """Compute the intra-class and the inter-class angle over all patches that have a class.

    A block is a shard. Only a few blocks are in memory at once.

    Args:
        extract: checkpoint with ``tokens [N, n, d]``.
        classes: checkpoint with ``patch_class [N, n]``.
        manifest: manifest of ``classes``, whose shards are the blocks.
        shards: shards that may have such patches, at least one.
        num_classes: ``C``.

    Returns:
        ``intra_class`` and ``inter_class`` in degrees; NaN if not defined.

    """

    def total(measure: Callable[..., Pair]) -> Pair:
        sums: list[Pair] = []
        for first in range(0, len(shards), _SHARDS_TOGETHER):
            some = shards[first : first + _SHARDS_TOGETHER]
            tokens = _shards(extract, "tokens", manifest, some)
            labels = _shards(classes, "patch_class", manifest, some)
            sums = [_add(*sums, _total(tokens, labels, measure))]
        return sums[0]

    sums, counts = total(partial(class_sums, num_classes=num_classes))
    centers = class_centers(sums)
    totals, _ = total(partial(class_angles, centers=centers))
    return {
        "intra_class": float(totals.sum() / counts.sum()) if counts.any() else float("nan"),
        "inter_class": inter_class_angle(centers, counts),
    }


def _shards(checkpoint: Checkpoint, name: str, manifest: Manifest, shards: Sequence[int]) -> da.Array:
    """Open some shards of an array as blocks, which Dask reads when it needs them."""
    reader = checkpoint.array(name)
    blocks = []
    for shard in shards:
        start, stop = manifest.shard_range(shard)
        rows = delayed(reader.rows, pure=False)(start, stop)
        blocks.append(da.from_delayed(rows, (stop - start, *reader.shape[1:]), dtype=reader.dtype))
    array: da.Array = da.concatenate(blocks)
    return array


def _total(tokens: da.Array, labels: da.Array, measure: Callable[..., Pair]) -> Pair:
    """Sum the pair of arrays that ``measure(tokens, labels)`` returns over all blocks."""
    blocks = zip(tokens.to_delayed().ravel(), labels.to_delayed().ravel(), strict=True)
    pairs = [delayed(measure)(*block) for block in blocks]
    while len(pairs) > 1:  # a tree of sums, so that few results are in memory
        pairs = [delayed(_add)(*pairs[i : i + 2]) for i in range(0, len(pairs), 2)]
    total: Pair = pairs[0].compute(scheduler="threads")
    return total


def _add(*pairs: Any) -> Any:
    return tuple(np.sum(arrays, axis=0) for arrays in zip(*pairs, strict=True))
