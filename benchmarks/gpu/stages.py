"""The stages ``extract`` and ``embed`` from JPEG files to checkpoints, and the parts of ``extract`` alone."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.gpu.measurement import Measured, forget_peak, peak_gigabytes, wait
from benchmarks.gpu.scale import Scale
from benchmarks.photographs import draw, make_settings, run
from dcn.weights.presets import Precision
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import open_index
from flows.inputs.models import load_backbone
from flows.inputs.parallel import in_threads
from flows.settings import Settings
from flows.stage import Job
from storage import Checkpoint

_BATCH = 128
_WORKERS = 4
# Share of the speed of decoding alone from which on decoding is what limits a stage.
_LIMITED = 0.85


def measure(scale: Scale) -> Iterator[Measured]:
    """Photographs per second of the stages, and of decoding, the backbone and writing alone."""
    with tempfile.TemporaryDirectory() as folder:
        for number in {scale.photographs, scale.segmented}:
            _draw(Path(folder), number, scale.distinct)
        precisions: tuple[Precision, ...] = ("float32", "bfloat16")
        for precision in precisions:
            yield from _measure_extract(_settings(Path(folder), scale, scale.photographs, precision), scale)
            yield _measure_rest(_settings(Path(folder), scale, scale.segmented, precision), scale)


def _draw(folder: Path, number: int, distinct: int) -> None:
    """As many files as the stages read, where :func:`benchmarks.photographs.make_settings` looks for them."""
    photographs = folder / f"photographs-{number}"
    draw(photographs, min(distinct, number))
    drawn = sorted(photographs.iterdir())
    for copy in range(len(drawn), number):
        shutil.copyfile(drawn[copy % len(drawn)], photographs / f"{copy:05d}.jpg")


def _settings(folder: Path, scale: Scale, number: int, precision: Precision) -> Settings:
    """A segmenter without training stands between ``extract`` and ``embed``."""
    drawn = make_settings(
        folder, number, precision, segment={"segmenter": {"name": "kmeans", "num_regions": 3}}
    )
    backbone = {"device": scale.device, "batch_size": min(_BATCH, number)}
    values = drawn.model_dump(mode="json")
    return Settings.model_validate(values | {"backbone": values["backbone"] | backbone})


def _measure_extract(settings: Settings, scale: Scale) -> Iterator[Measured]:
    index = run(settings, "index")
    settings = index.settings  # with the preset's sizes
    precision = settings.backbone.precision
    squashed, decoding = _decode(index)
    model_only = _backbone_rate(settings, scale, squashed)
    forget_peak(scale.device)
    writing: list[float] = []
    with patch.object(Checkpoint, "write_shard", _timed(Checkpoint.write_shard, writing)):
        extract = _stage_rate(settings, "extract")
    yield {
        "what": f"extract, {precision}, photographs per second of {scale.photographs}",
        "distinct": scale.distinct,
        "stage": extract,
        "decoding alone": decoding,
        "backbone alone": model_only,
        "writing alone": scale.photographs / sum(writing),
        "GB": peak_gigabytes(scale.device),
    }
    slowest = min(decoding, model_only, scale.photographs / sum(writing))
    yield {
        "what": f"goal: extract of {scale.photographs} photographs is limited by decoding; {precision}",
        "s": scale.photographs / extract,
        "s of decoding alone": scale.photographs / decoding,
        "of the speed of decoding": extract / decoding,
        "slowest part": {decoding: "decoding", model_only: "backbone"}.get(slowest, "writing"),
        "goal": "met" if extract >= _LIMITED * decoding else "missed",
    }


def _measure_rest(settings: Settings, scale: Scale) -> Measured:
    settings = run(settings, "index").settings
    run(settings, "extract")
    segment = _stage_rate(settings, "segment")
    forget_peak(scale.device)
    embed = _stage_rate(settings, "embed")
    return {
        "what": f"segment by k-means, then embed, {settings.backbone.precision}, "
        f"photographs per second of {scale.segmented}",
        "segment": segment,
        "embed": embed,
        "GB of embed": peak_gigabytes(scale.device),
    }


def _decode(index: Job) -> tuple[list[np.ndarray[Any, Any]], float]:
    """All photographs as squares, and how many per second with the threads of the stage."""
    settings = index.settings
    size = settings.backbone.input_size
    assert size is not None
    read = partial(read_squashed, open_dataset(settings.dataset), size)
    images = list(open_index(index).images())
    began = time.perf_counter()
    squashed = [found for _, found, _ in in_threads(read, images) if found is not None]
    seconds = time.perf_counter() - began
    if len(squashed) != len(images):
        raise RuntimeError(f"{len(images) - len(squashed)} of {len(images)} drawn photographs cannot be read")
    return squashed, len(images) / seconds


def _backbone_rate(settings: Settings, scale: Scale, squashed: list[np.ndarray[Any, Any]]) -> float:
    """Photographs per second from pixels in host memory to tokens in host memory."""
    backbone, size = load_backbone(settings), settings.backbone.batch_size

    def look(photographs: list[np.ndarray[Any, Any]]) -> None:
        features = backbone.features(backbone.preprocess(np.stack(photographs)))
        features.tokens.half().cpu()
        features.attention.half().cpu()

    look(squashed[:size])  # the warm-up
    wait(scale.device)
    began = time.perf_counter()
    for start in range(0, len(squashed), size):
        look(squashed[start : start + size])
    return len(squashed) / (time.perf_counter() - began)


def _stage_rate(settings: Settings, stage: str) -> float:
    """Photographs per second of a stage with as many tasks at once as in ``flows/configs/gpu.yaml``."""
    job = find_job(settings, stage)
    began = time.perf_counter()
    run_stage(job, stage, _compute_at_once, print)
    seconds = time.perf_counter() - began
    return job.checkpoint(stage).require().rows / seconds


def _compute_at_once(job: Job, stage: str, shards: list[int]) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(partial(compute_shards, job, stage), [shards[i::_WORKERS] for i in range(_WORKERS)]))


def _timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The function, which appends the duration of each call to ``seconds``."""

    def call(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            seconds.append(time.perf_counter() - began)

    return call
