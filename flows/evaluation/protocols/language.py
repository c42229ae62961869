"""Classes by a language-image model: MaskCLIP alone, and with the regions (section 4.5, table 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from dcn.evaluation.metrics import ClassificationMetrics, classification_metrics
from dcn.evaluation.overlap import confusion_matrix, region_overlap
from dcn.evaluation.protocols import Regions
from dcn.options import Options
from flows.evaluation.confusions import ConfusionTally, Matrix
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.protocol import Classification, Group, Protocol, ProtocolArray, Rows, Tally
from flows.stage import Warn
from storage import ArraySpec


class LanguageMetrics(Options):
    """Metrics of the classes by MaskCLIP. JSON.

    Attributes:
        pixels_where_no_background: of the pixels alone, where the ground truth is no background, because
            MaskCLIP has no background class.
        pixels_in_foreground: of the pixels in foreground regions; all other pixels are background.
        regions: of the regions, where a foreground region has the class of most of its pixels.

    """

    pixels_where_no_background: ClassificationMetrics
    pixels_in_foreground: ClassificationMetrics
    regions: ClassificationMetrics


class Language(Protocol[LanguageMetrics]):
    """Arrays of a run with a language model.

    ``language_pixels`` and ``language_foreground`` of ``[N, C, C]`` are confusion matrices of single
    photographs; ``language_class [N, k]`` is the class of every region.
    """

    name = "language"
    group = Group.CLASSES
    needs_labels = True
    metrics_type = LanguageMetrics

    def applies(self, run: EvaluatedRun) -> bool:
        return super().applies(run) and run.settings.classifies_by_language

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        matrix, dimensions = (run.num_classes, run.num_classes), ("predicted", "true")
        return (
            ProtocolArray(ArraySpec("language_pixels", matrix, "int64", dimensions)),
            ProtocolArray(ArraySpec("language_foreground", matrix, "int64", dimensions)),
            ProtocolArray(ArraySpec("language_class", (run.num_regions,), "int64", ("region",))),
        )

    def measure(self, photograph: Photograph) -> Rows:
        import torch

        from dcn.language.maskclip import classify_pixels, foreground_pixels, region_modes

        logits, mask, classes = photograph.logits, photograph.mask, photograph.run.num_classes
        if mask is None or logits is None:
            return {}
        labels, foreground = photograph.labels, photograph.foreground
        pixels = np.zeros(labels.shape, dtype=np.uint8)  # if language could not read the photograph
        if logits.any():
            pixels = classify_pixels(torch.from_numpy(logits).float(), *labels.shape)
        inside = foreground_pixels(labels, pixels, foreground)
        return {
            "language_pixels": region_overlap(pixels, mask, classes, classes),
            "language_foreground": region_overlap(inside, mask, classes, classes),
            "language_class": region_modes(labels, pixels, foreground),
        }

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[LanguageMetrics]:
        return ConfusionTally[str, LanguageMetrics](partial(_confusions, run), _metrics)

    def classifications(self, metrics: LanguageMetrics) -> list[Classification]:
        return [
            Classification("MaskCLIP, pixels that are no background", metrics.pixels_where_no_background),
            Classification("MaskCLIP, pixels in foreground regions", metrics.pixels_in_foreground),
            Classification("regions + MaskCLIP", metrics.regions),
        ]


def _confusions(run: EvaluatedRun, block: Regions) -> dict[str, Matrix]:
    rows, place = np.unique(block.image, return_inverse=True)
    classes = run.read("language_class", rows)[place, block.index]  # [R]
    return {
        "pixels": run.read("language_pixels", rows).sum(axis=0),
        "foreground": run.read("language_foreground", rows).sum(axis=0),
        "regions": confusion_matrix(block.overlap, classes, run.num_classes),
    }


def _metrics(totals: Mapping[str, Matrix]) -> LanguageMetrics:
    from dcn.language.maskclip import without_background

    return LanguageMetrics(
        pixels_where_no_background=classification_metrics(without_background(totals["pixels"])),
        pixels_in_foreground=classification_metrics(totals["foreground"]),
        regions=classification_metrics(totals["regions"]),
    )
