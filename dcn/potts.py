"""Modularity with a constant null model: the constant Potts model.

Modularity compares the affinity of two tokens with the affinity that a null model expects. The paper's null
model is the product of their degrees (equation 7). Here it is one number ``e`` for all pairs (Reichardt and
Bornholdt, 2006; Traag, Van Dooren and Nesterov, 2011): tokens with a larger cosine attract each other, and
tokens with a smaller one repel each other. So the number of regions follows from the image. With unit tokens
``x_i`` and the probability ``P_ic`` that token ``i`` belongs to region ``c``

    q = 1/n^2 sum_ij (x_i . x_j - e) sum_c P_ic P_jc = 1/n^2 sum_c |sum_i P_ic x_i|^2 - e (sum_i P_ic)^2

The second form needs no ``[n, n]`` matrix. As in Potts models, a negative cosine counts as it is.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def potts_modularity(tokens: Tensor, probabilities: Tensor, expected_affinity: float) -> Tensor:
    """Compute the modularity with a constant null model (see the docstring of this module).

    Args:
        tokens: ``[B, n, d]``. Only their directions count.
        probabilities: ``[B, n, k]`` of each token for each region.
        expected_affinity: cosine ``e`` that the null model expects.

    Returns:
        ``[B]``, differentiable.

    Example:
        >>> tokens = torch.eye(2).repeat_interleave(2, dim=0)[None]  # two groups of two equal tokens
        >>> potts_modularity(tokens, tokens, expected_affinity=0.25)
        tensor([0.3750])

    """
    sums = probabilities.mT @ F.normalize(tokens, dim=-1)  # [B, k, d]
    sizes = probabilities.sum(dim=1)  # [B, k]
    value: Tensor = (sums.square().sum(dim=-1) - expected_affinity * sizes.square()).sum(dim=-1)
    return value / tokens.shape[1] ** 2
