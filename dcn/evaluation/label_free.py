"""A score of regions that needs no labels, to choose among settings of the network.

The score is the modularity of the regions on whitened tokens, with a constant null model (:mod:`dcn.potts`):
tokens of one region should be more alike than tokens of a data set are on average. The whitening comes from
the data set, and the expected affinity is a constant. So the score does not depend on the loss of the
training, and all settings on the same tokens compare. ``docs/how-it-works/evaluation.md`` shows how well it
ranks settings as measures with labels do.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dcn.potts import potts_modularity
from dcn.whitening import TokenWhitening

# Width of the whitened tokens.
WHITENED_DIMS = 128
# With this value the score ranks settings as the average best overlap of objects does. A smaller value favors
# fewer and larger regions, as covering does; the two measures disagree, so no score can follow both.
EXPECTED_AFFINITY = 0.3


def label_free_score(whitening: TokenWhitening, tokens: Tensor, labels: Tensor) -> Tensor:
    """Compute the score of the regions of some images. Larger is better.

    Args:
        whitening: whitening with :data:`WHITENED_DIMS` directions, fitted on tokens of the data set.
        tokens: ``[B, n, d]`` tokens of the backbone.
        labels: ``[B, n]`` int64 region of each token.

    Returns:
        ``[B]`` float32, at most ``1 - EXPECTED_AFFINITY``.

    """
    regions = F.one_hot(labels, int(labels.max()) + 1).float()  # [B, n, k]
    return potts_modularity(whitening(tokens.float()), regions, EXPECTED_AFFINITY)
