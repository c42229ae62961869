"""Features of regions and names of clusters, against plain formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dcn.language.naming import name_clusters, region_features


def test_a_region_has_the_mean_of_the_directions_of_its_pixels() -> None:
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(9, 5)).astype(np.float32))
    labels = rng.integers(0, 3, (12, 12)).astype(np.uint8)
    found = region_features(features, labels, 4).numpy()
    unit = F.normalize(features, dim=-1).numpy().reshape(3, 3, 5).repeat(4, axis=0).repeat(4, axis=1)
    for region in range(3):
        mean = unit[labels == region].mean(axis=0)
        np.testing.assert_allclose(found[region], mean / np.linalg.norm(mean), atol=1e-5)
    assert not found[3].any()


def test_names_by_hand() -> None:
    """Two regions of cluster 1 are a cat by 3 to 1 and a dog by 3 to 1; a third is a cat. Cluster 4 is a cow."""
    text = torch.eye(3)
    odds = torch.tensor([[3.0, 1, 1e-9], [1, 3, 1e-9], [1, 1e-9, 1e-9], [1e-9, 1, 9]]).log() / 2
    one, four = name_clusters(odds, np.array([1, 1, 1, 4]), text, ("cat", "dog", "cow"), scale=2)
    assert (one.cluster, one.name, one.runner_up, one.regions) == (1, "cat", "dog", 3)
    assert one.score == pytest.approx((0.75 + 0.25 + 1) / 3)
    assert one.runner_up_score == pytest.approx((0.25 + 0.75) / 3)
    assert (four.cluster, four.name, four.runner_up, four.regions) == (4, "cow", "dog", 1)
    assert four.score == pytest.approx(0.9)
