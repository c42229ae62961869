"""Classes of new regions, compared with a search over all centers and with values computed by hand."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dcn.class_centers import ClassCenters
from dcn.class_names import NamedClasses
from dcn.model_description import ClassDescription

NAMED = NamedClasses(names=("background", "cat", "tree"), class_of_cluster=(0, 1, 2))
# Cluster 1 is the class tree; clusters 2 and 3 are cats.
DESCRIPTION = ClassDescription(matched=(0, 2, 1, 1), named=NAMED)


def vectors(rows: int) -> st.SearchStrategy[Any]:
    return arrays(np.float32, (rows, 4), elements=st.integers(-3, 3).map(float))


@given(centers=vectors(3), embedding=vectors(5))
def test_a_region_has_the_class_of_the_nearest_center(centers: Any, embedding: Any) -> None:
    classes, nearest, confidence = ClassCenters(centers / 4, DESCRIPTION).classify(embedding)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    for vector, found, near, sure in zip(embedding, classes, nearest, confidence, strict=True):
        if not vector.any():
            assert (found, sure, np.isnan(near)) == (0, 0, True)
            continue
        distance = np.linalg.norm(vector / np.linalg.norm(vector) - centers / 4, axis=1)
        tree, cat = distance[0], distance[1:].min()
        np.testing.assert_allclose(near, min(tree, cat), atol=1e-5)
        if abs(tree - cat) > 1e-3:  # else rounding decides
            assert found == (2 if tree < cat else 1)
            np.testing.assert_allclose(sure, 1 - min(tree, cat) / max(tree, cat), atol=2e-3)


def test_values_by_hand() -> None:
    centers = ClassCenters(np.array([[1, 0], [0, 1], [0, -1]], np.float32), DESCRIPTION)
    regions = np.array([[2, 0], [1, 1], [0, 5], [np.nan, 1]], np.float32)
    classes, distance, confidence = centers.classify(regions)
    assert classes.tolist() == [2, 2, 1, 0]
    np.testing.assert_allclose(confidence, [1, 0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(distance, [0, np.sqrt(2 - np.sqrt(2)), 0, np.nan], atol=1e-6)


def test_without_another_class_there_is_no_doubt_and_without_centers_no_class() -> None:
    one = ClassDescription(matched=(0, 1), named=NAMED)
    classes, _, confidence = ClassCenters(np.ones((1, 2), np.float32), one).classify(
        np.ones((1, 2), np.float32)
    )
    assert (classes.tolist(), confidence.tolist()) == ([1], [1])
    none = ClassDescription(matched=(2,), named=NAMED)
    classes, _, _ = ClassCenters(np.zeros((0, 2), np.float32), none).classify(np.ones((1, 2), np.float32))
    assert classes.tolist() == [2]
    assert ClassCenters(np.zeros((0, 2), np.float32), none).background == 2


def test_colors_are_those_of_the_first_cluster_of_a_class() -> None:
    palette = ClassCenters(np.ones((3, 2), np.float32), DESCRIPTION).palette()
    assert palette.shape == (256, 3)
    assert palette[:3].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
