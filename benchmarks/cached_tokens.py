"""A checkpoint of ``extract`` filled with drawn values, for the stages after it: nothing is looked at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flows.execution.plan import find_job
from flows.execution.run import run_stage
from flows.settings import Settings
from flows.stage import Job

_KINDS, _COARSE = 5, 7


def fill_extract(settings: Settings) -> None:
    """Complete the checkpoint; the index is there."""
    run_stage(find_job(settings, "extract"), "extract", _fill, print)


def _fill(job: Job, stage: str, shards: list[int]) -> None:
    checkpoint = job.checkpoint(stage)
    manifest = checkpoint.require_begun()
    shapes = {spec.name: spec.row_shape for spec in manifest.arrays}
    patches, width = shapes["tokens"]
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(_KINDS, width)).astype(np.float32)
    for shard in shards:
        start, stop = manifest.shard_range(shard)
        attention = rng.uniform(0, 2 / patches, (stop - start, *shapes["attention"])).astype(np.float16)
        tokens = np.stack([_tokens(rng, kinds, round(patches**0.5)) for _ in range(start, stop)])
        present = np.ones(stop - start, dtype=np.bool_)
        arrays = {"tokens": tokens, "attention": attention, "present": present}
        checkpoint.write_shard(manifest, shard, arrays, {"refused": []}, 0.0)


def _tokens(rng: np.random.Generator, kinds: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float16]:
    """``[n, d]``: a few kinds of tokens in patches of their own, with noise, so that there are regions."""
    coarse = rng.integers(0, len(kinds), (_COARSE, _COARSE))
    places = np.arange(side) * _COARSE // side
    chosen = kinds[coarse[np.ix_(places, places)]].reshape(side * side, -1)  # [n, d]
    noise = rng.normal(size=chosen.shape).astype(np.float32)
    return (chosen + noise / 2).astype(np.float16)
