"""A start for the prototypes that knows the data: k-means on tokens of the training images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from dcn.network import DynamicClusteringNetwork


@torch.no_grad()
def start_from_kmeans(network: DynamicClusteringNetwork, tokens: Tensor, seed: int) -> None:
    """Set the prototypes to the directions of k-means centers, as long as N(0, 1) vectors are on average.

    Args:
        network: is changed in place.
        tokens: ``[m, d]`` float32 of many training images; k-means runs on their directions.
        seed: of k-means.

    """
    k, d = network.prototypes.shape
    unit = F.normalize(tokens, dim=-1).cpu().numpy()
    distinct = min(k, len(torch.unique(tokens, dim=0)))
    centers = torch.from_numpy(KMeans(distinct, n_init=1, random_state=seed).fit(unit).cluster_centers_)
    network.prototypes[:distinct] = F.normalize(centers.float(), dim=-1) * d**0.5
