"""Initialization of the prototypes by k-means on tokens of the training images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.clustering import cluster_directions
from dcn.network import DynamicClusteringNetwork


@torch.no_grad()
def start_from_kmeans(network: DynamicClusteringNetwork, tokens: Tensor, seed: int) -> None:
    """Set the prototypes of a network to the directions of k-means centers.

    Each prototype gets the length ``sqrt(d)``, as a vector from N(0, 1) has on average. With fewer distinct
    tokens than prototypes, the last prototypes keep their values.

    Args:
        network: changed in place.
        tokens: ``[m, d]`` float32 from many training images. k-means runs on their directions.
        seed: random seed of k-means.

    """
    k, d = network.prototypes.shape
    centers = torch.from_numpy(cluster_directions(tokens.cpu().numpy(), k, seed).centers)
    network.prototypes[: len(centers)] = F.normalize(centers, dim=-1) * d**0.5
