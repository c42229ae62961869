"""k-means over the tokens of all photographs finds planted groups in a stream."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from dcn.errors import InvalidDatasetError
from dcn.segmenters import pixels
from dcn.segmenters.pixels import fit_pixel_clusters, pixel_assignment
from tests.dcn.segmenters.synthetic_tokens import planted


def test_pixel_clusters_are_found_in_the_whole_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_START_TOKENS", 200)
    images, owners = zip(*(planted(4, 8, seed=9) for _ in range(3)))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(64) for _ in range(40)]
    stream = (np.stack([images[0][order], images[0][order[::-1]]]).astype(np.float16) for order in orders)
    centers = fit_pixel_clusters(stream, 4, seed=0)
    assert centers.shape == (4, 8)
    assert centers.dtype == np.float32
    assert next(stream, None) is None
    labels = pixel_assignment(images[0], centers).argmax(axis=1)
    assert adjusted_rand_score(owners[0], labels) == 1
    np.testing.assert_array_equal(labels, cdist(normalize(images[0]), centers).argmin(axis=1))


def test_pixel_clusters_without_tokens_are_an_error() -> None:
    with pytest.raises(InvalidDatasetError, match="no tokens"):
        fit_pixel_clusters([], 4, seed=0)
