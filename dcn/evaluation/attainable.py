"""Attainable modularity of an image: the best modularity of free centers, optimized with the same loss.

A trained network reaches a share of it on unseen images. This share needs no labels and compares across
backbones, so it measures the quality of training.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcn.clustering import cluster_directions
from dcn.modularity import PAPER_LOSS, ModularityLoss, cosine_assignment

_LEARNING_RATE = 0.02
_MAX_STEPS = 500
# The search stops when the mean of the batch gains less than the tolerance, relatively, in so many steps.
_PATIENCE = 20
_TOLERANCE = 1e-3


def attainable_modularity(
    tokens: Tensor,
    num_centers: int,
    loss: ModularityLoss = PAPER_LOSS,
    seed: int = 0,
) -> Tensor:
    """Search the best modularity of each image over ``num_centers`` free centers.

    The centers start from k-means on the unit tokens. Adam improves them until the mean over the images stops
    growing. The search is local, so its result is a lower bound of the attainable modularity.

    Args:
        tokens: ``[B, n, d]`` floating point.
        num_centers: ``k``; an image with fewer distinct tokens uses fewer.
        loss: the modularity to maximize; the paper's by default.
        seed: seed of k-means.

    Returns:
        ``[B]`` float32 modularity.

    """
    unit = torch.nn.functional.normalize(tokens.float(), dim=-1)
    starts = [_kmeans_centers(image, num_centers, seed) for image in unit.cpu().numpy()]
    centers = torch.from_numpy(np.stack(starts)).to(tokens.device).requires_grad_()  # [B, k, d]
    optimizer = torch.optim.Adam([centers], lr=_LEARNING_RATE)
    best = torch.full((len(tokens),), -torch.inf, device=tokens.device)
    means: list[float] = []
    for _ in range(_MAX_STEPS):
        assignment = cosine_assignment(unit, centers)  # [B, n, k]
        value = loss.modularity(unit, assignment)  # [B]
        best = torch.maximum(best, value.detach())
        means.append(best.mean().item())
        if len(means) > _PATIENCE and means[-1] - means[-1 - _PATIENCE] < _TOLERANCE * abs(means[-1]):
            break
        optimizer.zero_grad()
        (-value.sum()).backward()
        optimizer.step()
    return best


def _kmeans_centers(unit_tokens: np.ndarray, num_centers: int, seed: int) -> np.ndarray:
    centers = cluster_directions(unit_tokens, num_centers, seed).centers
    # An image with fewer distinct tokens than centers repeats the first center. Equal centers change nothing.
    return np.concatenate([centers, np.repeat(centers[:1], num_centers - len(centers), axis=0)])
