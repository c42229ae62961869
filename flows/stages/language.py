"""Stage ``language``: compares every patch with the class names by a language-image model (section 4.5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcn.language.prompts import class_prompts
from flows import progress
from flows.errors import InvalidSettingsError
from flows.inputs.image_index import open_index
from flows.inputs.models import load_language_model, weights_digest
from flows.inputs.tokens.squashed_batches import squashed_batches
from flows.settings import Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from storage import ArraySpec, Manifest

_TEXT = "text.npy"


class LanguageStage(Stage):
    """Writes ``logits [N, n, C - 1]``: cosine of every patch with every class but the background (MaskCLIP).

    A photograph that cannot be read any more has zeros.
    """

    name = "language"

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ("index",)

    def settings(self, settings: Settings) -> dict[str, Any]:
        language = settings.language
        return {
            "model": language.model,
            "weights": weights_digest(language.weights, "language"),
            "input_size": language.input_size,
        }

    def layout(self, job: Job) -> Layout:
        if job.settings.language.model is None:
            raise InvalidSettingsError(
                "language.model is empty: set it to a model of open_clip, such as ViT-B-16:openai"
            )
        index = open_index(job)
        if len(index.class_names) < 2:
            raise InvalidSettingsError(
                "the stage language needs class names, and this data set has none; set language.model to null"
            )
        patches = load_language_model(job.settings).grid(job.settings.language.input_size) ** 2
        spec = ArraySpec("logits", (patches, len(index.class_names) - 1), "float16", ("patch", "class"))
        return Layout(len(index), job.settings.shard_images, (spec,))

    def prepare(self, job: Job) -> None:
        """Embed the class names once for all shards: they are thousands of sentences."""
        names = open_index(job).class_names[1:]
        text = load_language_model(job.settings).text_embeddings([class_prompts(name) for name in names])
        job.checkpoint(self.name).write_values(_TEXT, text.cpu().numpy())

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        import torch

        from dcn.language.maskclip import patch_logits

        model = load_language_model(job.settings)
        start, stop = manifest.shard_range(shard)
        text = torch.from_numpy(job.checkpoint(self.name).read_values(_TEXT)).to(model.device)  # [C, e]
        logits = np.zeros((stop - start, *manifest.arrays[0].row_shape), dtype=np.float16)
        refused: list[dict[str, str]] = []
        images, size = open_index(job).images(start, stop), job.settings.language.input_size
        for batch in squashed_batches(job.settings, size, images):
            refused.extend(batch.refused)
            if batch.images:
                features = model.patch_features(model.preprocess(batch.pixels))  # [b, n, e]
                found = patch_logits(features, text)  # [b, n, C]
                logits[[image.row - start for image in batch.images]] = found.cpu().numpy()
            progress.advance(self.name, batch.size)
        return ShardResult({"logits": logits}, {"refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        refused = warn_of_refused(job.checkpoint(self.name), manifest, "counts as background", warn)
        return {"images": manifest.rows - refused, "refused": refused}
