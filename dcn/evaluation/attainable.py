"""The modularity that is attainable on an image: free centers, optimized directly with the same loss.

The share of it that a trained DCN reaches on images it has not seen needs no labels and holds for any
backbone, so it is the yardstick of training.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dcn.clustering import cluster_directions
from dcn.modularity import cosine_assignment, modularity

_LEARNING_RATE = 0.02
_MAX_STEPS = 500
# Stop once the mean over a batch has gained less than this, relatively, in this many steps.
_PATIENCE = 20
_TOLERANCE = 1e-3


def attainable_modularity(
    tokens: Tensor,
    num_centers: int,
    resolution: float = 1.0,
    temperature: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Best modularity found for each image by ``num_centers`` free centers.

    The centers start from k-means on the unit tokens and follow Adam until the mean over the images stops
    improving. It is a local search, so a lower bound of what is attainable.

    Args:
        tokens: ``[B, n, d]`` floating point.
        num_centers: ``k``; fewer if an image has fewer tokens.
        resolution: as in :func:`dcn.modularity.modularity`.
        temperature: likewise.
        seed: of k-means.

    Returns:
        ``[B]`` float32.

    """
    unit = torch.nn.functional.normalize(tokens.float(), dim=-1)
    starts = [_kmeans_centers(image, num_centers, seed) for image in unit.cpu().numpy()]
    centers = torch.from_numpy(np.stack(starts)).to(tokens.device).requires_grad_()  # [B, k, d]
    optimizer = torch.optim.Adam([centers], lr=_LEARNING_RATE)
    best = torch.full((len(tokens),), -torch.inf, device=tokens.device)
    means: list[float] = []
    for _ in range(_MAX_STEPS):
        value = modularity(unit, cosine_assignment(unit, centers), resolution, temperature)  # [B]
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
    # An image of fewer distinct tokens than centers repeats its first one, which changes nothing.
    return np.concatenate([centers, np.repeat(centers[:1], num_centers - len(centers), axis=0)])
