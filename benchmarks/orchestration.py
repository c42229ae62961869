"""What orchestration costs a stage, and what a second Dask worker gains, on photographs that are drawn here.

    python -m benchmarks.orchestration [--images 2000] [--model vit_small_patch16_224] [--folder DIR]

The stage is ``extract``, with random weights at 224 pixels: of a ViT-S/16, the quickest of the presets, with
which orchestration weighs most, or of another of timm. Before it is timed ``index`` runs in the same process,
which starts a temporary Prefect server; this process, and Dask's workers of one thread each, have loaded the
backbone. What a stage takes is all of its flow, from the listing of the data set to the artifacts. What of it
is not computing and writing shards, in the process of the flow, is orchestration.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.settings import Settings
    from flows.stage import Job

# Nothing heavy is imported up here: the processes of a local Dask cluster import this module first.
SIZE = 224
# Sides of a photograph in pixels, as many as on VOC 2012.
HEIGHT, WIDTH = 375, 500


def draw(folder: Path, images: int) -> None:
    """Photographs of noise of several scales, as JPEGs."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(images):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.jpg", quality=90)


def make_settings(folder: Path, images: int, model: str) -> Settings:
    """Draw the data set, and weights; the settings of the runs but for the workspace."""
    import timm
    import torch
    from safetensors.torch import save_file

    from flows.settings import Settings

    (folder / "photographs").mkdir()
    draw(folder / "photographs", images)
    torch.manual_seed(0)
    save_file(timm.create_model(model, num_classes=0).state_dict(), folder / "weights.safetensors")
    return Settings.model_validate(
        {
            "dataset": {"name": "folder", "root": folder / "photographs"},
            "backbone": {
                "name": model, "weights": folder / "weights.safetensors", "input_size": SIZE, "device": "cpu"
            },
        }
    )  # fmt: skip


def extract(settings: Settings, workspace: Path, runner: dict[str, Any]) -> float:
    """Seconds of the flow ``extract`` in a new workspace, ``index`` not counted."""
    from flows.pipeline import FLOWS, sections
    from flows.settings import RunnerSettings

    here = settings.model_copy(update={"workspace": str(workspace), "runner": RunnerSettings(**runner)})
    FLOWS["index"](**sections(here.model_copy(update={"runner": RunnerSettings()})))
    began = time.perf_counter()
    FLOWS["extract"](**sections(here))
    return time.perf_counter() - began


def on_workers(settings: Settings, workspace: Path, workers: int) -> float:
    """Seconds with workers of one thread each, that have imported this software already."""
    from distributed import Client, LocalCluster

    from flows.inputs.models import load_backbone

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(workers)
        client.run(lambda: load_backbone(settings) and None)
        return extract(settings, workspace, {"kind": "dask", "address": cluster.scheduler_address})


def in_this_process(settings: Settings, workspace: Path) -> tuple[float, float]:
    """Seconds of the flow, and of those the seconds in which shards were computed and written."""
    from flows.execution import run as execution
    from flows.inputs.models import load_backbone

    load_backbone(settings)
    compute_shards = execution.compute_shards
    busy = []

    def timed(
        job: Job, stage: str, shards: list[int], stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        began = time.perf_counter()
        try:
            return compute_shards(job, stage, shards, stopped)
        finally:
            if stage == "extract":
                busy.append(time.perf_counter() - began)

    execution.compute_shards = timed
    try:
        seconds = extract(settings, workspace, {"kind": "threads"})
    finally:
        execution.compute_shards = compute_shards
    return seconds, sum(busy)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        settings = make_settings(folder, arguments.images, arguments.model)
        seconds, busy = in_this_process(settings, folder / "threads")
        one, two = (on_workers(settings, folder / f"workers-{n}", n) for n in (1, 2))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"extract of {arguments.images} photographs, {arguments.model} at {SIZE} pixels, {cores} cores")
    print(f"in the process of the flow: {seconds:.1f} s, of these {seconds - busy:.2f} s orchestration")
    print(f"orchestration: {(seconds - busy) / seconds:.2%} of the stage")
    print(f"Dask workers of one thread: one {one:.1f} s, two {two:.1f} s")
    print(f"two workers are {one / two:.2f} times as fast as one")


if __name__ == "__main__":
    main()
