"""The label-free score: how well regions gather alike tokens. It chooses among settings without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dcn.device import choose_device
from dcn.evaluation.bootstrap import Interval, mean_interval
from dcn.options import Options
from flows.evaluation.inputs import EvaluatedRun, Shard
from flows.evaluation.protocol import Column, Group, Headline, Protocol, ProtocolArray, Tally, shown_estimate
from flows.evaluation.stored_measures import Floats, StoredTally, read_runs
from flows.inputs.parallel import batched
from flows.inputs.summaries import ExtractSummary
from flows.inputs.token_sample import sample_tokens
from flows.stage import Warn
from storage import ArraySpec

if TYPE_CHECKING:
    from dcn.whitening import TokenWhitening

_SCORE = "label_free_score"
# The whitening, a file of the checkpoint. All segmenters on the same tokens have the same one.
_WHITENING = "whitening.safetensors"
_SEED = 0
_BATCH = 16


class LabelFreeMetrics(Options):
    """Mean over the evaluated photographs. JSON.

    Attributes:
        score: see :func:`dcn.evaluation.label_free.label_free_score`.
        score_interval: confidence interval of 95 % over photographs; None for a single photograph.

    """

    score: float
    score_interval: Interval | None


class LabelFree(Protocol[LabelFreeMetrics]):
    """Array ``label_free_score [N]``, NaN where not measured."""

    name = "label_free"
    group = Group.REGIONS
    metrics_type = LabelFreeMetrics

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        return (ProtocolArray(ArraySpec(_SCORE, (), "float32", ()), np.nan),)

    def prepare(self, run: EvaluatedRun) -> None:
        """Fit the whitening on tokens of the whole data set, because no label is in them."""
        import torch
        from safetensors.torch import save

        extract = run.job.checkpoint("extract")
        present = np.flatnonzero(extract.array("present").rows(0, len(run.index)))
        _, sample = sample_tokens(extract.array("tokens"), present, _SEED)
        tokens = torch.from_numpy(sample).flatten(0, 1)  # [m, d]
        whitening = _new_whitening(run)
        whitening.fit(tokens[tokens.isfinite().all(dim=1)])
        run.checkpoint.write_file(_WHITENING, save(whitening.state_dict()))

    def measure_shard(self, run: EvaluatedRun, shard: Shard, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        import torch
        from safetensors.torch import load

        from dcn.evaluation.label_free import label_free_score

        device = choose_device(run.settings.backbone.device)
        whitening = _new_whitening(run)
        whitening.load_state_dict(load(run.checkpoint.read_file(_WHITENING)))
        whitening.to(device)
        for images in batched(shard.evaluated, _BATCH):
            rows = np.array([image.row - shard.start for image in images])
            tokens = torch.from_numpy(shard.tokens[rows]).to(device)  # [B, n, d]
            labels = torch.from_numpy(shard.maps.assignment[rows]).to(device).argmax(dim=-1)  # [B, n]
            arrays[_SCORE][rows] = label_free_score(whitening, tokens, labels).cpu().numpy()

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[LabelFreeMetrics]:
        return StoredTally(lambda: _metrics(read_runs([run], _SCORE, rows)))

    def over_seeds(self, runs: Sequence[EvaluatedRun]) -> LabelFreeMetrics:
        return _metrics(read_runs(runs, _SCORE, runs[0].evaluated_rows()))

    def headline(self, metrics: LabelFreeMetrics) -> list[Headline]:
        value = shown_estimate(metrics.score, metrics.score_interval)
        meaning = "larger is better, among settings on the same tokens"
        explanation = (
            "How alike the parts of one region are, compared with those of other regions. It ranks settings "
            "by the photographs alone."
        )
        return [Headline("label-free score", value, meaning, explanation)]

    def columns(self) -> tuple[Column[LabelFreeMetrics], ...]:
        return (
            Column(
                "label_free_score",
                "label-free score",
                lambda found: found.score,
                interval=lambda found: found.score_interval,
            ),
        )


def _new_whitening(run: EvaluatedRun) -> TokenWhitening:
    from dcn.evaluation.label_free import WHITENED_DIMS
    from dcn.whitening import TokenWhitening

    return TokenWhitening(ExtractSummary.read(run.job).token_width, WHITENED_DIMS)


def _metrics(scores: Floats) -> LabelFreeMetrics:
    """Average over runs and photographs: scores ``[s, n]``."""
    values = scores[:, ~np.isnan(scores).any(axis=0)].mean(axis=0)  # [n]
    return LabelFreeMetrics(score=float(values.mean()), score_interval=mean_interval(values))
