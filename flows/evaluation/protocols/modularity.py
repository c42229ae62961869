"""Modularity of the regions, and the share that the network reaches of what is attainable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.device import choose_device
from dcn.evaluation.protocols import Regions
from dcn.options import Options
from flows.evaluation.inputs import EvaluatedRun, Shard
from flows.evaluation.protocol import Column, Group, Headline, Protocol, ProtocolArray, Tally
from flows.inputs.image_index import evenly_spread
from flows.inputs.models import load_network
from flows.inputs.parallel import batched
from flows.stage import Warn
from storage import ArraySpec

# Photographs whose attainable modularity is searched together.
_SEARCH_BATCH = 16
# Rows of the photographs whose attainable modularity is searched.
_ATTAINABLE = "attainable.npy"


class ModularityMetrics(Options):
    """Means over the evaluated photographs. JSON.

    Attributes:
        regions_per_image: number of regions.
        hard_modularity: modularity of the regions, where every token belongs to one region. Every segmenter
            has it.
        modularity: modularity of the soft assignment, as in the loss (equation 10). Absent if the segmenter
            assigns without cosines.
        attainable_modularity: best modularity that free centers reach on ``attainable_images`` photographs.
            Absent, like the next two, if no photograph was searched.
        attainable_images: number of photographs that were searched.
        share_of_attainable: mean ``modularity`` of these photographs through their mean attainable one.

    """

    regions_per_image: float
    hard_modularity: float
    modularity: float | None = None
    attainable_modularity: float | None = None
    attainable_images: int | None = None
    share_of_attainable: float | None = None


class Modularity(Protocol[ModularityMetrics]):
    """Arrays ``modularity``, ``hard_modularity`` and ``attainable`` of ``[N]``, NaN where not measured.

    ``attainable`` is measured on ``evaluate.attainable_images`` photographs, evenly spread over the evaluated
    split, and only if the segmenter assigns by cosines: the loss is not defined for other assignments.
    """

    name = "segmentation"
    group = Group.REGIONS
    metrics_type = ModularityMetrics

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        names = ("modularity", "hard_modularity", "attainable")
        return tuple(ProtocolArray(ArraySpec(name, (), "float32", ()), np.nan) for name in names)

    def prepare(self, run: EvaluatedRun) -> None:
        """Choose the photographs to search once, because a choice needs the whole index."""
        rows = np.zeros(0, dtype=np.int64)
        if run.settings.segment.segmenter.cosines:
            rows = evenly_spread(run.evaluated_rows(), run.settings.evaluate.attainable_images)
        run.checkpoint.write_values(_ATTAINABLE, rows)

    def measure_shard(self, run: EvaluatedRun, shard: Shard, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        import torch

        from dcn.evaluation.attainable import attainable_modularity
        from dcn.modularity import modularity

        device = choose_device(run.settings.backbone.device)
        loss = run.settings.train.loss
        network = load_network(run.job) if run.settings.segment.segmenter.cosines else None
        chosen = set(run.checkpoint.read_values(_ATTAINABLE).tolist())
        for images in batched(shard.evaluated, _SEARCH_BATCH):
            rows = np.array([image.row - shard.start for image in images])
            tokens = torch.from_numpy(shard.tokens[rows]).to(device).float()  # [B, n, d]
            assignment = torch.from_numpy(shard.maps.assignment[rows]).to(device).float()  # [B, n, k]
            hard = torch.nn.functional.one_hot(assignment.argmax(dim=-1), assignment.shape[-1])
            arrays["hard_modularity"][rows] = modularity(tokens, hard, loss.resolution).cpu().numpy()
            if network is None:
                continue
            projected = network.project(tokens).float()  # [B, n, p]
            arrays["modularity"][rows] = loss.modularity(projected, assignment).cpu().numpy()
            searched = [i for i, image in enumerate(images) if image.row in chosen]
            if searched:
                best = attainable_modularity(projected[searched], run.num_regions, loss)
                arrays["attainable"][rows[searched]] = best.cpu().numpy()

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[ModularityMetrics]:
        return _ModularityTally(run, rows)

    def headline(self, metrics: ModularityMetrics) -> list[Headline]:
        return [
            Headline(
                "regions per image",
                f"{metrics.regions_per_image:.2f}",
                "that the segmenter finds",
                "Into how many areas a photograph is divided, on average.",
            )
        ]

    def details(self, metrics: ModularityMetrics) -> list[Headline]:
        details = [
            Headline(
                "modularity",
                f"{metrics.hard_modularity:.4f}",
                "of the regions, mean over the photographs",
                "How much more alike the parts of a region are than chance would make them. 0 is chance. "
                "More modularity does not mean better regions.",
            )
        ]
        if metrics.share_of_attainable is not None:
            meaning = f"of what free centers reach on {metrics.attainable_images} photographs"
            share = f"{metrics.share_of_attainable:.3f}"
            explanation = (
                "How near the soft regions come to the best modularity that a search finds for each "
                "photograph alone. It says whether training reached its own goal, and not whether "
                "regions are objects."
            )
            details.append(Headline("share of attainable modularity", share, meaning, explanation))
        return details

    def columns(self) -> tuple[Column[ModularityMetrics], ...]:
        return (
            Column("regions_per_image", "regions per image", lambda found: found.regions_per_image, digits=2),
            Column("modularity", "modularity", lambda found: found.hard_modularity, digits=4),
        )


class _ModularityTally(Tally[ModularityMetrics]):
    def __init__(self, run: EvaluatedRun, rows: npt.NDArray[np.int64]) -> None:
        self._run = run
        self._rows = rows
        self._regions = 0

    def add(self, block: Regions) -> None:
        self._regions += len(block.index)

    def metrics(self) -> ModularityMetrics:
        reached = self._run.read_all("modularity")[self._rows]
        attainable = self._run.read_all("attainable")[self._rows]
        hard = self._run.read_all("hard_modularity")[self._rows]
        searched = ~np.isnan(attainable)
        found: dict[str, float] = {
            "regions_per_image": self._regions / len(self._rows),
            "hard_modularity": float(hard.mean()),
        }
        if self._run.settings.segment.segmenter.cosines:
            found["modularity"] = float(reached.mean())
        if searched.any():
            found |= {
                "attainable_modularity": float(attainable[searched].mean()),
                "attainable_images": int(searched.sum()),
                "share_of_attainable": float(reached[searched].mean() / attainable[searched].mean()),
            }
        return ModularityMetrics.model_validate(found)
