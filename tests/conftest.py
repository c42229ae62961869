"""Fixtures: photographs that are drawn here, a small ViT with random weights, and a real Prefect server."""

from __future__ import annotations

import os

# One thread per process; PyTorch reads these variables when it is imported. The tests run side by side, and
# some compare the results of another process with those of this one, bit for bit.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
# No test may wait for a model hub or find a file that somebody downloaded. timm reads this when it is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import settings as hypothesis_settings
from PIL import Image
from safetensors.torch import save_file

from flows.settings import Settings
from tests.flows.helpers import MakeSettings, changed, run_stages
from tests.servers import serve_prefect

pytest_plugins = ["tests.distribution", "tests.s3_server"]
TINY_VIT = "vit_tiny_patch16_224"
_OF_TERMINALS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}

# An example takes a thousand times as long when the machine has other work.
hypothesis_settings.register_profile("tests", deadline=None)
hypothesis_settings.load_profile("tests")

os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"


@pytest.fixture
def terminal_signals() -> Iterator[None]:
    """Let the processes of a test heed Ctrl-C and a closed terminal.

    Tests that run in the background or below ``nohup`` ignore these signals, and so would what they start.
    """
    before = {number: signal.signal(number, handler) for number, handler in _OF_TERMINALS.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def draw_scene(seed: int, height: int = 48, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Draw one or two colored discs on a textured ground; returns the photograph and its mask (0, 1, 2)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 130, (height, width, 3))
    mask = np.zeros((height, width), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    for label in range(1, 2 + seed % 2):
        center = rng.uniform(0.25, 0.75, 2) * (height, width)
        disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (min(height, width) / 4) ** 2
        pixels[disc] = (220, 40, 30) if label == 1 else (30, 60, 230)
        mask[disc] = label
    return pixels.astype(np.uint8), mask


def write_tiny_weights(root: Path) -> Path:
    """Write a file with random weights of a small ViT."""
    torch.manual_seed(0)
    path = root / "tiny.safetensors"
    save_file(timm.create_model(TINY_VIT, num_classes=0).state_dict(), path)
    return path


def draw_photographs(root: Path, count: int) -> Path:
    """Draw ``photos/`` with two subfolders, their ``masks/``, and ``classes.txt``, below ``root``."""
    for i in range(count):
        pixels, mask = draw_scene(i)
        name = f"{'left' if i % 2 else 'right'}/scene {i:02d}"
        for folder, array in (("photos", pixels), ("masks", mask)):
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    (root / "classes.txt").write_text("background\nred\nblue\n")
    return root


def configure_tiny(photographs: Path, weights: Path) -> dict[str, object]:
    """Settings of a pipeline that runs in seconds: several shards, a few iterations.

    Args:
        photographs: folder that :func:`draw_photographs` returned.
        weights: file that :func:`write_tiny_weights` returned.

    """
    return {
        "dataset": {
            "name": "folder",
            "root": str(photographs / "photos"),
            "masks": str(photographs / "masks"),
            "classes": str(photographs / "classes.txt"),
        },
        "backbone": {
            "name": TINY_VIT,
            "weights": str(weights),
            "input_size": 64,
            "batch_size": 4,
            "device": "cpu",
        },
        "train": {
            "iterations": 12,
            "batch_size": 4,
            "check_every": 3,
            "save_seconds": 0,
            "num_prototypes": 3,
        },
        "embed": {"size": 32},
        "evaluate": {"num_seeds": 3, "attainable_images": 6},
        "report": {"num_photographs": 3},
        "shard_images": 4,
    }


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def photograph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 photographs: see :func:`draw_photographs`."""
    return draw_photographs(tmp_path_factory.mktemp("folder"), 14)


@pytest.fixture(scope="session")
def tiny_config(tiny_weights: Path, photograph_folder: Path) -> dict[str, object]:
    return configure_tiny(photograph_folder, tiny_weights)


@pytest.fixture
def tiny_settings(tiny_config: dict[str, object], tmp_path: Path) -> MakeSettings:
    """Makes settings of the tiny pipeline in a workspace of the test's own; sections given to it override."""

    def make(**sections: object) -> Settings:
        values: dict[str, object] = {**tiny_config, "workspace": str(tmp_path / "workspace")}
        for name, section in sections.items():
            base = values.get(name, {})
            values[name] = (
                {**base, **section} if isinstance(section, dict) and isinstance(base, dict) else section
            )
        return Settings.model_validate(values)

    return make


@pytest.fixture(scope="session")
def finished(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny pipeline, run to its end. Tests only read its workspace; to change it, take :func:`copy`."""
    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    settings = Settings.model_validate({**tiny_config, "workspace": str(workspace)})
    run_stages(settings)
    return settings


@pytest.fixture
def copy(finished: Settings, tmp_path: Path) -> Settings:
    """A copy of the finished pipeline, in a workspace that the test may change."""
    shutil.copytree(finished.workspace, tmp_path / "w")
    return changed(finished, workspace=str(tmp_path / "w"))


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real Prefect server on loopback with a database of its own; yields the environment to reach it."""
    with serve_prefect(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        # Flows of this process send their logs and events late. Without a server, Prefect would try for a minute.
        APILogWorker.drain_all(timeout=30)
        EventsWorker.drain_all(timeout=30)
