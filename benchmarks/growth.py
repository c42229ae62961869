"""Seconds and peak memory of every stage against the number of images, the tokens of an image, and k.

    python -m benchmarks.growth [--images 100,1000,10000] [--input-sizes 64,128,256] [--regions 2,5,10]
                                [--json FILE] [--root FOLDER]

Photographs of 64 x 48 with ground truth are drawn into a folder, and a ViT with random weights
(vit_tiny_patch16_224) looks at them, so that what is measured is the pipeline and not the model. Every stage
runs in a process of its own, whose peak resident memory is what the kernel says at its end; what a process
needs before it begins (Python and its libraries) is measured beside it, as the stage ``(nothing)``.

With ``--root`` the folder stays, and what is there is used again: a stage whose checkpoint is complete says
nothing of its cost.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.peak_memory import peak_memory

if TYPE_CHECKING:
    from flows.settings import Settings

VIT = "vit_tiny_patch16_224"
# Seconds, and MiB at the peak.
Cost = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=_numbers, default=(100, 1000, 10000))
    parser.add_argument("--input-sizes", type=_numbers, default=())
    parser.add_argument("--regions", type=_numbers, default=())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--root", type=Path)
    arguments = parser.parse_args()
    measured: list[dict[str, object]] = []
    context = multiprocessing.get_context("spawn")
    with nullcontext(arguments.root) if arguments.root else tempfile.TemporaryDirectory() as folder:
        root = Path(folder).absolute()
        root.mkdir(parents=True, exist_ok=True)
        with context.Pool(1) as pool:  # this process stays small
            weights = pool.apply(write_weights, (root,))
        draw(root, max(arguments.images))
        few = min(arguments.images)
        variants = [(count, 64, 5) for count in arguments.images]
        variants += [(few, size, 5) for size in arguments.input_sizes]
        variants += [(few, 64, k) for k in arguments.regions]
        for count, size, k in dict.fromkeys(variants):  # a stage that is there would cost nothing
            tokens = (size // 16) ** 2
            print(f"{count} images of {tokens} tokens, k = {k}")
            for stage, (seconds, peak) in _measure(root, weights, count, size, k):
                measured.append(
                    {"images": count, "tokens": tokens, "k": k, "stage": stage, "s": seconds, "MiB": peak}
                )
                print(f"  {stage:<10} {seconds:>8.2f} s {peak:>8.0f} MiB", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _measure(root: Path, weights: Path, count: int, size: int, k: int) -> Iterator[tuple[str, Cost]]:
    """What each stage costs on the first ``count`` photographs, one after the other."""
    from flows.execution.plan import stages_up_to

    settings = settings_of(root, weights, count, size, k)
    values = settings.model_dump(mode="json")
    context = multiprocessing.get_context("spawn")
    for stage in ("(nothing)", *stages_up_to(None, settings)):
        with context.Pool(1) as pool:
            yield stage, pool.apply(_run, (values, stage))


def settings_of(root: Path, weights: Path, count: int, size: int, k: int) -> Settings:
    """A run over the first ``count`` photographs, of ``size`` pixels, with ``k`` prototypes."""
    from flows.settings import Settings

    _link_first(root, count)
    return Settings.model_validate(
        {
            "dataset": {
                "name": "folder",
                "root": root / f"first-{count}",
                "masks": root / "masks",
                "classes": root / "classes.txt",
            },
            "backbone": {"name": VIT, "weights": weights, "input_size": size, "device": "cpu"},
            "train": {"iterations": 50, "num_prototypes": k},
            "embed": {"size": 16},
            "workspace": root / f"workspace-{count}-{size}-{k}",
        }
    )


def _run(values: dict[str, object], stage: str) -> Cost:
    """One stage, in a process of its own."""
    from flows.execution.plan import find_job
    from flows.execution.run import compute_shards, run_stage
    from flows.settings import Settings

    settings = Settings.model_validate(values)
    began = time.perf_counter()
    if stage != "(nothing)":
        run_stage(find_job(settings, stage), stage, compute_shards, lambda _: None)
    seconds = time.perf_counter() - began
    return seconds, peak_memory() / (1 << 20)


def draw(root: Path, count: int) -> None:
    """Discs of one of two colors on noise; ten thousand to a folder."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:48, :64]
    for number in range(count):
        pixels = rng.integers(90, 130, (48, 64, 3), dtype=np.uint8)
        center = rng.uniform(0.25, 0.75, 2) * (48, 64)
        disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < 144
        pixels[disc] = (220, 40, 30) if number % 2 else (30, 60, 230)
        mask = np.where(disc, 1 + number % 2, 0).astype(np.uint8)
        for folder, array in (("photos", pixels), ("masks", mask)):
            path = root / folder / f"{number // 10000:04d}" / f"{number:08d}.png"
            if path.exists():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path, compress_level=1)
    (root / "classes.txt").write_text("background\nred\nblue\n")


def _link_first(root: Path, count: int) -> None:
    """A folder with the first photographs only."""
    target = root / f"first-{count}"
    if target.exists():
        return
    for path in sorted((root / "photos").rglob("*.png"))[:count]:
        link = target / path.relative_to(root / "photos")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(path)


def write_weights(root: Path) -> Path:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = root / "vit.safetensors"
    if path.exists():
        return path
    save_file(timm.create_model(VIT, num_classes=0).state_dict(), path)
    return path


if __name__ == "__main__":
    main()
