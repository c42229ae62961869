"""Intra-class and inter-class angles of tokens, within photographs and over the data set (section 1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.evaluation.angles import image_angles, patch_classes
from dcn.evaluation.metrics import defined
from dcn.options import Options
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.protocol import Group, Headline, Protocol, ProtocolArray, Rows, Tally, shown_metric
from flows.inputs.summaries import ExtractSummary
from flows.stage import Warn
from storage import ArraySpec

# Class of a patch that counts nowhere, because it is not labelled or not evaluated.
_UNLABELLED = 255
_WITHIN = (
    "How alike the parts of one object are, and how different those of two things, within a photograph: the "
    "first angle should be small, the second large."
)
_OVER_ALL = "The same over all photographs at once, where objects of one class look less alike."


class AnglePair(Options):
    """Angles in degrees; None if not defined. JSON.

    Attributes:
        intra_class: mean angle between a token and the center of its class.
        inter_class: mean angle between a center and the nearest other center.

    """

    intra_class: float | None
    inter_class: float | None


class AngleMetrics(Options):
    """Angles within single photographs, averaged over the photographs, and over the whole data set. JSON."""

    single_images: AnglePair
    data_set: AnglePair


class Angles(Protocol[AngleMetrics]):
    """Arrays ``patch_class [N, n]``, 255 where a patch has no class, and ``angles [N, 2]``, NaN likewise."""

    name = "angles"
    group = Group.TOKENS
    needs_labels = True
    metrics_type = AngleMetrics

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        patches = ExtractSummary.read(run.job).tokens_per_image
        return (
            ProtocolArray(ArraySpec("patch_class", (patches,), "uint8", ("patch",)), _UNLABELLED),
            ProtocolArray(ArraySpec("angles", (2,), "float32", ("intra_inter",)), np.nan),
        )

    def measure(self, photograph: Photograph) -> Rows:
        if photograph.mask is None:
            return {}
        tokens = photograph.tokens
        classes = patch_classes(photograph.mask, round(len(tokens) ** 0.5))
        angles = image_angles(tokens, classes, photograph.run.num_classes)
        return {"patch_class": classes, "angles": np.array(angles)}

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[AngleMetrics]:
        return _AngleTally(run, rows)

    def headline(self, metrics: AngleMetrics) -> list[Headline]:
        meaning = "of tokens to the center of their class / of that to the nearest other"
        return [
            Headline("angles within a photograph", _shown(metrics.single_images), meaning, _WITHIN),
            Headline("angles over all", _shown(metrics.data_set), meaning, _OVER_ALL),
        ]


def _shown(pair: AnglePair) -> str:
    angles = (pair.intra_class, pair.inter_class)
    return " / ".join(shown_metric(angle, 1) + "°" * (angle is not None) for angle in angles)


class _AngleTally(Tally[AngleMetrics]):
    def __init__(self, run: EvaluatedRun, rows: npt.NDArray[np.int64]) -> None:
        self._run = run
        self._rows = rows

    def metrics(self) -> AngleMetrics:
        from flows.evaluation.dataset_angles import dataset_angles  # it needs Dask

        run, checkpoint = self._run, self._run.checkpoint
        intra, inter = map(_mean_of_measured, run.read_all("angles")[self._rows].astype(np.float64).T)
        manifest = checkpoint.require_begun()
        shards = np.unique(self._rows // manifest.shard_rows).tolist()
        whole = dataset_angles(run.job.checkpoint("extract"), checkpoint, manifest, shards, run.num_classes)
        return AngleMetrics(
            single_images=AnglePair(intra_class=intra, inter_class=inter),
            data_set=AnglePair(
                intra_class=defined(whole["intra_class"]), inter_class=defined(whole["inter_class"])
            ),
        )


def _mean_of_measured(values: npt.NDArray[np.float64]) -> float | None:
    """Average ``[N]`` where it is not NaN; None if it is NaN everywhere."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else None
