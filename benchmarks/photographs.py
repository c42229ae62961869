"""Photographs as large as those of VOC 2012, and the paper's ViT-S/8 with random weights to look at them.

Weights and what is on a photograph change no speed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import VisionTransformer

from dcn.weights.presets import Precision
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.settings import Settings
from flows.stage import Job

BACKBONE = "dino-s8"
HEIGHT, WIDTH = 375, 500


def draw(folder: Path, images: int) -> None:
    """Noise of several scales, in JPEGs of about 90 kB."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(images):
        pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.float32)
        for step, strength in ((64, 160), (16, 60), (4, 25), (1, 10)):
            noise = rng.uniform(-1, 1, (HEIGHT // step + 1, WIDTH // step + 1, 3))
            coarse = Image.fromarray((noise * 127 + 128).astype(np.uint8))
            fine = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32)
            pixels += (fine - 128) / 128 * strength
        Image.fromarray(np.clip(pixels + 128, 0, 255).astype(np.uint8)).save(
            folder / f"{number:05d}.jpg", quality=90
        )


def make_settings(folder: Path, images: int, precision: Precision, **sections: dict[str, Any]) -> Settings:
    """Draw what is not drawn yet; the settings of a run on the CPU in a workspace of its own."""
    photographs, weights = folder / f"photographs-{images}", folder / "weights.safetensors"
    if not photographs.exists():
        draw(photographs, images)
    if not weights.exists():
        torch.manual_seed(0)
        save_file(timm.create_model("vit_small_patch8_224.dino", num_classes=0).state_dict(), weights)
    backbone = {"name": BACKBONE, "weights": weights, "device": "cpu", "precision": precision}
    return Settings.model_validate(
        {
            "dataset": {"name": "folder", "root": photographs},
            "backbone": backbone,
            "workspace": folder / f"workspace-{images}-{precision}",
            **sections,
        }
    )


def timms_model(settings: Settings) -> VisionTransformer:
    """The backbone of the settings as timm makes it, without what this project changes in it."""
    model = timm.create_model("vit_small_patch8_224.dino", num_classes=0, dynamic_img_size=True)
    assert isinstance(model, VisionTransformer)
    assert settings.backbone.weights is not None
    model.load_state_dict(load_file(settings.backbone.weights))
    return model.to(getattr(torch, settings.backbone.precision)).eval()


def run(settings: Settings, stage: str) -> Job:
    """One stage, as a run computes it; what it reads is there."""
    job = find_job(settings, stage)
    run_stage(job, stage, compute_shards, lambda message: print(f"  {message}"))
    return job


def forget(settings: Settings, stage: str) -> None:
    """Delete its checkpoint, so that it is computed again."""
    find_job(settings, stage).checkpoint(stage).delete()
