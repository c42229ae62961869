"""Agglomerative clustering against SciPy's."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from dcn.clusterers import AgglomerativeClusterer


@pytest.mark.parametrize("method", ["ward", "average", "complete"])
def test_clusters_are_those_of_scipy(method: str) -> None:
    unit = normalize(np.random.default_rng(0).normal(size=(50, 5)))
    theirs = fcluster(linkage(unit, method), 6, "maxclust")
    clusterer = AgglomerativeClusterer.model_validate({"linkage": method})
    assert adjusted_rand_score(theirs, clusterer.labels(unit, 6, seed=0)) == 1


def test_a_single_region_is_a_cluster() -> None:
    assert AgglomerativeClusterer().labels(np.ones((1, 3)), 1, seed=0).tolist() == [0]
