"""Louvain community detection (Blondel et al., 2008): maximizes the modularity without learning.

The graph is that of equation 8, with self-loops: a degree counts ``A_ii`` once, as in equation 7, and as in
scikit-network with a symmetric matrix. There are three steps:

1. Louvain finds communities. It visits the tokens in a random order; the row-major order reaches 1 % less
   modularity (tokens of block 10). Leiden reaches the same modularity to four digits in twice the time, and
   in scikit-network 0.33 it draws from a random generator that no seed sets.
2. Communities merge while there are more than ``k``. The pair that loses least modularity merges first.
3. Tokens move between the regions while a move increases the modularity. Directly after Louvain no move
   does; after merges the moves add up to 7 % to the modularity at resolution 1.3.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from dcn.options import RegionCount
from dcn.segmenters.assignment import assignment_of
from dcn.segmenters.segmenter import SEED, Segmenter, Shared

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

# scikit-network stops when a pass gains less modularity. Its sums are float32.
_TOLERANCE = 1e-6
# A smaller gain of a move is a rounding error.
_LEAST_GAIN = 1e-12


class ModularitySegmenter(Segmenter):
    """Louvain community detection on the affinity graph of the modularity loss, without learning."""

    uses_resolution = True
    compared_at = "largest"

    name: Literal["modularity"] = "modularity"
    num_regions: RegionCount = 5

    def columns(self, num_prototypes: int) -> int:
        return self.num_regions

    def assign(
        self, tokens: npt.NDArray[np.float32], shared: Shared, colors: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        return louvain_assignment(tokens, self.num_regions, SEED, shared.resolution)


def louvain_assignment(
    tokens: npt.NDArray[np.float32], num_regions: int, seed: int, resolution: float = 1.0
) -> npt.NDArray[np.float32]:
    """Divide the tokens of an image into regions of large modularity.

    The score of a token for a region is the share of its affinity to the region's tokens, minus the share
    expected by chance. Up to a factor for each token, it is the modularity that the token adds to the
    region. At the end no token gains by a move, so every label has the best score of its token.

    Args:
        tokens: ``[n, d]``.
        num_regions: largest number of regions ``k``. The modularity is often largest with fewer.
        seed: random seed of the order in which Louvain visits the tokens.
        resolution: as in :func:`dcn.modularity.modularity`. A larger one finds smaller regions.

    Returns:
        ``[n, k]``, see :func:`dcn.segmenters.assignment.assignment_of`.

    """
    import torch

    from dcn.affinity import affinity_graph

    affinity, share, total = affinity_graph(torch.from_numpy(tokens.astype(np.float64))[None])
    weights, shares = (affinity[0] / total[0]).numpy(), share[0].numpy()
    labels = _communities(weights, resolution, seed)
    labels = merge_communities(labels, weights, shares, num_regions, resolution)
    labels = settle_tokens(labels, weights, shares, resolution)
    gains = _gains(labels, weights, shares, resolution)
    scores = np.divide(gains, shares[:, None], out=np.zeros_like(gains), where=shares[:, None] > 0)
    return assignment_of(labels, scores, num_regions)


def _communities(weights: Floats, resolution: float, seed: int) -> Labels:
    if not weights.any():  # scikit-network refuses a graph without edges
        return np.zeros(len(weights), dtype=np.int64)
    from sknetwork.clustering import Louvain

    louvain = Louvain(
        resolution,
        tol_optimization=_TOLERANCE,
        tol_aggregation=_TOLERANCE,
        shuffle_nodes=True,
        return_probs=False,
        return_aggregate=False,
        random_state=seed,
    )
    # The weights must be float64: scikit-network rounds any other type to integers.
    labels: Labels = louvain.fit_predict(weights).astype(np.int64)
    return labels


def merge_communities(
    labels: Labels, weights: Floats, shares: Floats, num_regions: int, resolution: float
) -> Labels:
    """Merge the pair of communities that loses least modularity, until at most ``num_regions`` are left.

    Merges that lose no modularity follow. They join tokens without affinity (all-zero tokens) to others.

    Args:
        labels: ``[n]`` community of each token, 0 to c - 1.
        weights: ``[n, n]``, ``A / 2m``.
        shares: ``[n]``, ``k_i / 2m``.
        num_regions: largest number of communities that remain.
        resolution: resolution of the modularity.

    Returns:
        ``[n]`` community of each token, numbered from 0 without gaps.

    """
    members = np.eye(labels.max() + 1)[labels]  # [n, c]
    share = shares @ members
    # Half the modularity that each merge of two communities gains, [c, c].
    gain = members.T @ weights @ members - resolution * np.outer(share, share)
    np.fill_diagonal(gain, -np.inf)
    owner = np.arange(len(share))
    count = len(share)
    while count > num_regions or gain.max() >= 0:
        kept, gone = sorted(np.unravel_index(gain.argmax(), gain.shape))
        gain[kept] += gain[gone]
        gain[:, kept] += gain[:, gone]
        gain[gone] = gain[:, gone] = -np.inf
        owner[owner == gone] = kept
        count -= 1
    return np.unique(owner[labels], return_inverse=True)[1]


def settle_tokens(labels: Labels, weights: Floats, shares: Floats, resolution: float) -> Labels:
    """Move single tokens to the region where they add most modularity, until no token gains by a move.

    Args:
        labels: ``[n]`` region of each token, 0 to c - 1.
        weights: ``[n, n]``, ``A / 2m``.
        shares: ``[n]``, ``k_i / 2m``.
        resolution: resolution of the modularity.

    Returns:
        ``[n]`` region of each token, numbered from 0 without gaps.

    """
    labels = labels.copy()
    members = np.eye(labels.max() + 1)[labels]
    inside, share = weights @ members, shares @ members  # [n, c], [c]
    loops = weights.diagonal() - resolution * shares**2
    moved = True
    while moved:
        moved = False
        for token, own in enumerate(shares):
            old = labels[token]
            gain = inside[token] - resolution * own * share
            gain[old] -= loops[token]  # without the token's own share in its region
            new = gain.argmax()
            if gain[new] > gain[old] + _LEAST_GAIN:
                inside[:, old] -= weights[token]
                inside[:, new] += weights[token]
                share[old] -= own
                share[new] += own
                labels[token] = new
                moved = True
    return np.unique(labels, return_inverse=True)[1]


def _gains(labels: Labels, weights: Floats, shares: Floats, resolution: float) -> Floats:
    """Compute half the modularity that each token adds to each region, ``[n, c]``."""
    members = np.eye(labels.max() + 1)[labels]
    gains: Floats = weights @ members - resolution * np.outer(shares, shares @ members)
    gains[np.arange(len(labels)), labels] -= weights.diagonal() - resolution * shares**2
    return gains
