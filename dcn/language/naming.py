"""Names of clusters by a language-image model: the words that fit their regions best.

A region has the mean of the patch features of MaskCLIP inside of it. CLIP turns the cosines of this feature
with the words of a vocabulary into probabilities of the words, and the mean over the regions of a cluster are
the scores of its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.region_tokens import mean_tokens


@dataclass(frozen=True)
class ClusterName:
    """The name of a cluster.

    Attributes:
        cluster: number of the cluster.
        name: the word with the largest score.
        score: mean probability of the name over the regions, 0 to 1.
        runner_up: the word with the second largest score.
        runner_up_score: its score.
        regions: number of regions that were looked at.

    """

    cluster: int
    name: str
    score: float
    runner_up: str
    runner_up_score: float
    regions: int


def region_features(features: Tensor, labels: npt.NDArray[np.uint8], num_regions: int) -> Tensor:
    """Average the patch features of each region. A patch counts by the share of its pixels in the region.

    Args:
        features: ``[n, e]`` of one photograph, ``n`` a square number of patches in row-major order, from
            :meth:`dcn.language.maskclip.LanguageModel.patch_features`.
        labels: label map ``[S, S]``, where ``S`` is a multiple of the root of ``n``.
        num_regions: number of regions ``k``.

    Returns:
        ``[k, e]`` unit vectors; zeros for a region that does not occur.

    """
    unit = F.normalize(features, dim=-1)  # [n, e]
    means = mean_tokens(unit.cpu().numpy(), labels, num_regions)  # [k, e]
    return F.normalize(torch.from_numpy(means).to(features.device), dim=-1)


def name_clusters(
    features: Tensor,
    clusters: npt.NDArray[np.integer],
    text: Tensor,
    names: Sequence[str],
    scale: float,
) -> list[ClusterName]:
    """Name every cluster that has a region.

    Args:
        features: ``[R, e]`` unit vectors of regions, from :func:`region_features`.
        clusters: ``[R]`` cluster of each region.
        text: ``[C, e]`` unit vectors of the words, at least two.
        names: ``[C]`` the words.
        scale: factor of the cosines, :attr:`dcn.language.maskclip.LanguageModel.scale`.

    Returns:
        One name for each cluster, in their order.

    """
    probability = (scale * features @ text.T).softmax(dim=-1)  # [R, C]
    found = []
    for cluster in np.unique(clusters).tolist():
        own = torch.from_numpy(clusters == cluster).to(features.device)
        scores, words = probability[own].mean(dim=0).topk(2)
        (score, second), (word, runner_up) = scores.tolist(), words.tolist()
        found.append(ClusterName(cluster, names[word], score, names[runner_up], second, int(own.sum())))
    return found
