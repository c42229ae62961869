"""Angles of the tokens of a whole data set (section 1): two passes of Dask arrays over the cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import delayed

from dcn.evaluation.angles import class_angles, class_centers, class_sums, inter_class_angle
from storage import Checkpoint, Manifest

Pair = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def dataset_angles(
    extract: Checkpoint, classes: Checkpoint, manifest: Manifest, num_classes: int
) -> dict[str, float]:
    """Intra-class and inter-class angle in degrees over all patches that have a class.

    A block is a shard, and only a few are in memory at once.

    Args:
        extract: has ``tokens [N, n, d]``.
        classes: has ``patch_class [N, n]``.
        manifest: of ``classes``; its shards are the blocks.
        num_classes: ``C``.

    """
    tokens = _shards(extract, "tokens", manifest)
    labels = _shards(classes, "patch_class", manifest)
    sums, counts = _total(tokens, labels, partial(class_sums, num_classes=num_classes))
    centers = class_centers(sums)
    totals, _ = _total(tokens, labels, partial(class_angles, centers=centers))
    return {
        "intra_class": float(totals.sum() / counts.sum()) if counts.any() else float("nan"),
        "inter_class": inter_class_angle(centers, counts),
    }


def _shards(checkpoint: Checkpoint, name: str, manifest: Manifest) -> da.Array:
    """An array of a checkpoint whose blocks are its shards, each read when it is needed."""
    reader = checkpoint.array(name)
    blocks = []
    for shard in range(manifest.num_shards):
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
