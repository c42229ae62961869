"""The ladder: steps from the paper's method to ours, each on top of those before it."""

from __future__ import annotations

from typing import Any

from flows.compare.variants import Variant, seeded
from flows.settings import Settings
from flows.settings.loading import change, validate

GROUP = "ladder"
# Settings that each step changes; later steps keep them. The backbone stays, so all read one feature cache.
STEPS: dict[str, dict[str, Any]] = {
    "paper": {
        "train.whitened_dims": None,
        "train.expected_affinity": None,
        "train.temperature": None,
        "train.learning_rate": 1e-4,
        "segment.attention_reduction": "min",
        "segment.foreground_split": "two-means",
        "segment.refine": False,
    },
    "new regions": {
        "train.whitened_dims": 128,
        "train.expected_affinity": 0.15,
        "train.temperature": 0.1,
        "train.learning_rate": 1e-3,
        "segment.attention_reduction": None,
        "segment.foreground_split": None,
    },
    "refined borders": {"segment.refine": True},
    "crops with context": {"embed.source": ["crop-context"]},
    "spectral clusters": {"evaluate.clustering": {"name": "spectral"}},
    "distilled head": {"distill.rounds": 1},
}
# k-NN would embed the regions of the training split, and no step is judged by it.
_ALL_STEPS = {"evaluate.attainable_images": 0, "evaluate.neighbors": [], "language": {}}
_SEEDS = (0, 1, 2, 3, 4)


def ladder_variants(settings: Settings) -> list[Variant]:
    """Make a variant of each step with each seed of ``compare.seeds``, or with five seeds; a step is a row.

    Raises:
        InvalidSettingsError: a step contradicts the settings.

    """
    variants = []
    changed = settings.model_dump(mode="json")
    for step, over in {"": _ALL_STEPS, **STEPS}.items():
        for name, value in over.items():
            change(changed, name, value)
        if step:
            variant = Variant(step, GROUP, validate(changed, f"step {step}"))
            variants += seeded(variant, settings.compare.seeds or _SEEDS)
    return variants
