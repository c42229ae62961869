"""Angles of the tokens of a whole data set (section 1): two passes of Dask arrays over the cache."""

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

# Shards in one graph: of a million photographs a single one would have tens of thousands of tasks.
_SHARDS_TOGETHER = 1024
Pair = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def dataset_angles(
    extract: Checkpoint, classes: Checkpoint, manifest: Manifest, shards: Sequence[int], num_classes: int
) -> dict[str, float]:
    """Intra-class and inter-class angle in degrees over all patches that have a class.

    A block is a shard, and only a few are in memory at once; a graph has some hundreds of them.

    Args:
        extract: has ``tokens [N, n, d]``.
        classes: has ``patch_class [N, n]``.
        manifest: of ``classes``; its shards are the blocks.
        shards: those that have such patches, at least one.
        num_classes: ``C``.

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
    """Some shards of an array of a checkpoint, each a block that is read when it is needed."""
    reader = checkpoint.array(name)
    blocks = []
    for shard in shards:
        start, stop = manifest.shard_range(shard)
        rows = delayed(reader.rows, pure=False)(start, stop)
        blocks.append(da.from_delayed(rows, (stop - start, *reader.shape[1:]), dtype=reader.dtype))
    array: da.Array = da.concatenate(blocks)
    return array


def _total(tokens: da.Array, labels: da.Array, measure: Callable[..., Pair]) -> Pair:
    """Sum over all blocks of the pair of arrays that ``measure(tokens, labels)`` gives of one."""
    blocks = zip(tokens.to_delayed().ravel(), labels.to_delayed().ravel(), strict=True)
    pairs = [delayed(measure)(*block) for block in blocks]
    while len(pairs) > 1:  # a tree, so that results do not gather in memory
        pairs = [delayed(_add)(*pairs[i : i + 2]) for i in range(0, len(pairs), 2)]
    total: Pair = pairs[0].compute(scheduler="threads")
    return total


def _add(*pairs: Any) -> Any:
    return tuple(np.sum(arrays, axis=0) for arrays in zip(*pairs, strict=True))
