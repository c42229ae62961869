"""A whole training run of the paper: 2,500 iterations of 32 images, 784 tokens of 384 each, on this machine.

    python -m benchmarks.training_run [--iterations 60] [--images 640] [--json FILE]

The stage ``train`` itself runs, with the tokens and the loss of the paper, on a cache of random tokens in a
temporary folder. Unless it is given ``--iterations 2500``, the minutes are an EXTRAPOLATION: seconds that an
iteration, a look at the held-out images and a saved state take, times how often a whole run does each. A look
is at 256 images, as in a whole run, or at half of the cache.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from benchmarks.paper import PAPERS_LOSS
from benchmarks.row import Row, add_json_option, show_rows
from dcn.training import Trainer
from flows import progress
from flows.cli.terminal import TerminalProgress
from flows.execution.plan import find_job
from flows.execution.run import _new_manifest, compute_shards, run_stage
from flows.inputs.summaries import ExtractSummary
from flows.settings import Settings
from flows.stage import Layout
from flows.stages.training.run import TrainingRun
from storage import ArraySpec

TOKENS, WIDTH, SHARD = 784, 384, 64
WHOLE = Settings().train
HELD_OUT = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--images", type=int, default=640)
    add_json_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = make_cache(Path(folder), arguments.images, arguments.iterations)
        seconds = measure(settings)
    show_rows(rows(seconds, arguments.iterations), arguments.json)


def make_cache(folder: Path, images: int, iterations: int) -> Settings:
    """A data set of small photographs, and a checkpoint ``extract`` of random tokens for it."""
    generator = np.random.default_rng(0)
    (folder / "photographs").mkdir()
    for number in range(images):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photographs" / f"{number}.png")
    (folder / "weights.pth").write_bytes(b"no model is loaded")
    whole = iterations >= WHOLE.iterations
    settings = Settings.model_validate(
        {
            "dataset": {"name": "folder", "root": folder / "photographs"},
            "backbone": {"name": "dino-s8", "weights": folder / "weights.pth", "device": "cpu"},
            "train": {
                **PAPERS_LOSS,
                "iterations": iterations,
                "held_out": min(0.5, HELD_OUT / images),
                "check_every": WHOLE.check_every if whole else iterations // 2,
                "save_seconds": WHOLE.save_seconds if whole else 0.1,
            },
            "shard_images": SHARD,
            "workspace": folder / "workspace",
        }
    )
    run_stage(find_job(settings, "index"), "index", compute_shards, print)
    job = find_job(settings, "extract")
    checkpoint = job.checkpoint("extract")
    specs = (
        ArraySpec("tokens", (TOKENS, WIDTH), "float16", ("patch", "channel")),
        ArraySpec("present", (), "bool", ()),
    )
    manifest = checkpoint.begin(_new_manifest(job, "extract", Layout(images, SHARD, specs)))
    for shard in checkpoint.missing_shards(manifest):
        start, stop = manifest.shard_range(shard)
        groups = generator.standard_normal((stop - start, 6, WIDTH), dtype=np.float32)
        owner = generator.integers(0, 6, (stop - start, TOKENS, 1))
        noise = generator.standard_normal((stop - start, TOKENS, WIDTH), dtype=np.float32)
        tokens = np.take_along_axis(groups, owner, axis=1) + 0.7 * noise
        arrays = {"tokens": tokens.astype(np.float16), "present": np.ones(stop - start, bool)}
        checkpoint.write_shard(manifest, shard, arrays, {"refused": []}, 0.0)
    summary = ExtractSummary(images=images, refused=0, tokens_per_image=TOKENS, token_width=WIDTH)
    checkpoint.finish(summary.to_json(), 0.0, [])
    return settings


def measure(settings: Settings) -> dict[str, list[float]]:
    """Seconds of every call of the parts of the stage, and of the whole of it, as ``stage``."""
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments)
            seconds[name].append(time.perf_counter() - began)
            return result

        return call

    run = TrainingRun
    for owner, function, name in (
        (Trainer, "step", "step"),
        (run, "_check_held_out", "check"),
        (run, "_save", "save"),
        (run, "_report", "log"),
    ):
        setattr(owner, function, timed(getattr(owner, function), name))
    terminal = TerminalProgress(Console(file=io.StringIO(), force_terminal=True))
    with terminal, progress.watched(terminal):
        timed(run_stage, "stage")(find_job(settings, "train"), "train", compute_shards, print)
    return seconds


def rows(seconds: dict[str, list[float]], iterations: int) -> list[Row]:
    measured = sum(seconds["stage"])
    step, check, save, log = (statistics.median(seconds[name]) for name in ("step", "check", "save", "log"))
    parts = sum(sum(seconds[name]) for name in ("step", "check", "save", "log"))
    # Start, waiting for batches and the files at the end; the first step compiles.
    rest = measured - parts
    first = seconds["step"][0] - step
    looks = WHOLE.iterations // WHOLE.check_every
    trained = first + rest + WHOLE.iterations * (step + log) + looks * check
    saves = trained // max(WHOLE.save_seconds, 50 * save)
    kept = WHOLE.iterations * log + saves * save
    total = trained + saves * save
    how = "a whole training run, 2,500 iterations of 32"
    if iterations >= WHOLE.iterations:
        total, kept = measured, sum(seconds["save"]) + sum(seconds["log"])
    else:
        how += f", EXTRAPOLATED from {iterations}"
    details = {"s a step": step, "s a look at the held-out images": check, "s a saved state": save,
               "s a line of progress": log, "s of the rest": rest, "s measured": measured}  # fmt: skip
    return [
        Row(how, "", total / 60, "minutes", 20, at_least=False, details=details),
        Row("state and progress of that run", "the whole of it", 100 * kept / total, "%", 2, at_least=False),
    ]


if __name__ == "__main__":
    main()
