"""Metrics and protocols against torchmetrics, scikit-learn, brute force and by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torchmetrics.functional import accuracy, jaccard_index

from dcn.clusterers import KMeansClusterer
from dcn.clustering import cluster_directions
from dcn.evaluation.metrics import (
    ClassificationMetrics,
    class_iou,
    classification_metrics,
    match_clusters,
    matched_confusion,
    mean_iou,
    pixel_accuracy,
)
from dcn.evaluation.overlap import confusion_matrix, region_overlap
from dcn.evaluation.protocols import (
    Regions,
    foreground_confusion,
    foreground_metrics,
    join_regions,
    knn_confusions,
    matched_classes,
    region_bank,
    upper_bound,
)
from dcn.evaluation.region_clusters import cluster_regions

# Region maps, ground truths, predicted class of every region, number of regions, number of classes.
Problem = tuple[np.ndarray, np.ndarray, np.ndarray, int, int]


@st.composite
def segmented_images(draw: st.DrawFn) -> Problem:
    """Region maps, ground truths and a predicted class for every region of two images."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    k, classes = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    labels = rng.integers(0, k, (2, 6, 7)).astype(np.uint8)
    masks = rng.integers(0, classes, (2, 6, 7)).astype(np.uint8)
    masks[rng.random(masks.shape) < 0.2] = 255
    return labels, masks, rng.integers(0, classes, (2, k)), k, classes


@given(segmented_images())
@settings(max_examples=80)
def test_confusion_of_regions_equals_that_of_pixels(problem: Problem) -> None:
    labels, masks, predicted, k, classes = problem
    overlap = np.concatenate([region_overlap(a, b, k, classes) for a, b in zip(labels, masks, strict=True)])
    matrix = confusion_matrix(overlap, predicted.ravel(), classes)
    pixels = np.stack([p[a] for p, a in zip(predicted, labels, strict=True)])
    counted = masks != 255
    expected = sklearn_confusion(pixels[counted], masks[counted], labels=range(classes))
    np.testing.assert_array_equal(matrix, expected)


@given(segmented_images())
@settings(max_examples=60)
def test_metrics_equal_torchmetrics(problem: Problem) -> None:
    labels, masks, predicted, k, classes = problem
    masks[0, 0, :classes] = np.arange(classes)[:7]  # every class occurs, as torchmetrics averages over all
    overlap = np.concatenate([region_overlap(a, b, k, classes) for a, b in zip(labels, masks, strict=True)])
    matrix = confusion_matrix(overlap, predicted.ravel(), classes)
    pixels = torch.from_numpy(np.stack([p[a] for p, a in zip(predicted, labels, strict=True)]))
    truth = torch.from_numpy(masks.astype(np.int64))
    expected_iou = jaccard_index(
        pixels, truth, "multiclass", num_classes=classes, average="none", ignore_index=255
    )
    np.testing.assert_allclose(class_iou(matrix), expected_iou.numpy(), atol=1e-6)
    assert mean_iou(matrix) == pytest.approx(expected_iou.mean().item(), abs=1e-6)
    share = accuracy(pixels, truth, "multiclass", num_classes=classes, average="micro", ignore_index=255)
    assert pixel_accuracy(matrix) == pytest.approx(share.item(), abs=1e-6)


def test_classes_without_ground_truth_do_not_count() -> None:
    matrix = np.array([[8, 0, 0], [2, 6, 0], [0, 4, 0]])  # class 2 is predicted and never true
    np.testing.assert_allclose(class_iou(matrix), [8 / 10, 6 / 12, np.nan])
    assert mean_iou(matrix) == pytest.approx((0.8 + 0.5) / 2)
    assert np.isnan(mean_iou(np.zeros((2, 2), dtype=np.int64)))
    assert np.isnan(pixel_accuracy(np.zeros((2, 2), dtype=np.int64)))


@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 10_000))
@settings(max_examples=60)
def test_matching_is_the_best_of_all(clusters: int, classes: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).integers(0, 20, (clusters, classes))

    def iou(i: int, j: int) -> float:
        union = matrix[i].sum() + matrix[:, j].sum() - matrix[i, j]
        return matrix[i, j] / union if union else 0.0

    if clusters <= classes:
        options = (zip(range(clusters), p) for p in itertools.permutations(range(classes), clusters))
    else:
        options = (zip(p, range(classes)) for p in itertools.permutations(range(clusters), classes))
    best = max(sum(iou(i, j) for i, j in option) for option in options)
    match = match_clusters(matrix)
    assert sum(iou(i, j) for i, j in enumerate(match) if j >= 0) == pytest.approx(best)
    assert sorted(j for j in match if j >= 0) == sorted(set(match) - {-1})
    assert (match >= 0).sum() == min(clusters, classes)


def test_matched_confusion_by_hand() -> None:
    matrix = np.array([[0, 9], [7, 1], [2, 2]])
    match = match_clusters(matrix)
    assert match.tolist() == [1, 0, -1]
    # Cluster 0 is class 1, cluster 1 is class 0, and cluster 2, which is left over, is background.
    assert matched_confusion(matrix, match).tolist() == [[9, 3], [0, 9]]


def regions_of_two_classes() -> Regions:
    """Six regions: two of the ground, two of class 1, two of class 2; one foreground one is half ground."""
    overlap = np.array([[50, 0, 0], [40, 0, 0], [0, 30, 0], [10, 12, 0], [0, 0, 25], [0, 0, 20]])
    direction = {0: [0, 0, 1], 1: [1, 0.1, 0], 2: [0, 1, 0.1]}
    embedding = (
        np.array([direction[c] for c in (0, 0, 1, 1, 2, 2)], dtype=np.float32) * np.arange(1, 7)[:, None]
    )
    embedding += np.random.default_rng(0).normal(size=embedding.shape) * 0.01
    return Regions(
        image=np.array([0, 1, 0, 1, 2, 2]),
        index=np.array([0, 0, 1, 1, 0, 1]),
        overlap=overlap,
        foreground=np.array([0, 0, 1, 1, 1, 1], dtype=bool),
        embedding=embedding.astype(np.float32),
    )


def classified(regions: Regions, predicted: np.ndarray) -> tuple[np.ndarray, ClassificationMetrics]:
    """Class of every region, and the metrics of these clusters."""
    classes, reached = matched_classes(confusion_matrix(regions.overlap, predicted, predicted.max() + 1))
    return classes[predicted], reached


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 12), st.integers(2, 16))
@settings(max_examples=60)
def test_regions_that_were_clustered_are_in_the_cluster_they_were_put_in(
    seed: int, count: int, wanted: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    regions = Regions(
        image=np.arange(count),
        index=np.zeros(count, dtype=np.int64),
        overlap=np.ones((count, 1), dtype=np.int64),
        foreground=rng.random(count) < 0.8,
        embedding=(rng.normal(size=(count, width)) * rng.uniform(0.1, 9, (count, 1))).astype(np.float32),
    )
    regions.embedding[rng.random(count) < 0.1] = 0
    for clusters in cluster_regions(regions, KMeansClusterer(), wanted, 2):
        predicted = clusters.predict(regions)
        clustered = regions.foreground & regions.embedded
        np.testing.assert_array_equal(predicted[clustered], clusters.clusters.labels + 1)
        assert not predicted[~clustered].any()
        # Block by block, as the regions of a large data set come.
        blocks = [regions.take(rows) for rows in np.array_split(np.arange(count), 3)]
        found = np.concatenate([clusters.predict(block) for block in blocks])
        np.testing.assert_array_equal(found, predicted)
        np.testing.assert_array_equal(join_regions(blocks).embedding, regions.embedding)


def test_protocols_by_hand() -> None:
    regions = regions_of_two_classes()
    bound = classification_metrics(upper_bound(regions.overlap))
    assert bound.accuracy == pytest.approx((50 + 40 + 30 + 12 + 25 + 20) / 187)
    assert bound.class_iou == pytest.approx([90 / 100, 42 / 52, 1.0])
    assert bound.confusion == [[90, 0, 0], [10, 42, 0], [0, 0, 45]]
    foreground = foreground_metrics(foreground_confusion(regions.overlap, regions.foreground))
    assert foreground.iou == pytest.approx((30 + 12 + 25 + 20) / (30 + 12 + 25 + 20 + 10))
    for clusters in cluster_regions(regions, KMeansClusterer(), 2, 3):
        classes, reached = classified(regions, clusters.predict(regions))
        assert classes.tolist() == [0, 0, 1, 1, 2, 2]
        assert reached.miou == pytest.approx((90 / 100 + 42 / 52 + 1) / 3)


def test_nearest_regions_by_hand() -> None:
    """Each region's nearest one in another image is of its class, but the two of class 2 share an image."""
    regions = regions_of_two_classes()
    found = knn_confusions(region_bank([regions]), regions, (1,))[1]
    # Image 2 has both regions of class 2, so their neighbors are of class 1, whose directions are nearer.
    assert found.tolist() == [[90, 0, 0], [10, 42, 45], [0, 0, 0]]


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_a_region_without_a_direction_is_background_and_in_no_bank(broken: float) -> None:
    regions = regions_of_two_classes()
    regions.embedding[2] = broken
    assert regions.embedded.tolist() == [True, True, False, True, True, True]
    for clusters in cluster_regions(regions, KMeansClusterer(), 2, 2):
        assert clusters.predict(regions)[2] == 0
    found = knn_confusions(region_bank([regions]), regions, (1,))[1]
    assert found[0, 1] >= 30


def test_no_foreground_at_all_is_all_background() -> None:
    regions = replace(regions_of_two_classes(), foreground=np.zeros(6, dtype=bool))
    (clusters,) = cluster_regions(regions, KMeansClusterer(), 20, 1)
    classes, reached = classified(regions, clusters.predict(regions))
    assert classes.tolist() == [0] * 6
    assert reached.class_iou == pytest.approx([100 / 187, 0, 0])


def test_foreground_that_no_image_has_is_not_a_number() -> None:
    overlap = np.array([[5, 0]])
    assert foreground_metrics(foreground_confusion(overlap, np.array([True]))).iou is None
    several = np.array([[5, 0, 0], [0, 0, 3]])
    assert classification_metrics(upper_bound(several)).class_iou == [1.0, None, 1.0]


def test_clusters_depend_on_directions_and_not_on_lengths() -> None:
    rng = np.random.default_rng(0)
    directions = np.repeat(np.eye(3), 5, axis=0) + rng.normal(size=(15, 3)) * 0.01
    lengths = rng.uniform(0.1, 100, (15, 1))
    labels = cluster_directions((directions * lengths).astype(np.float32), 3, 0).labels
    assert [len(set(labels[i : i + 5])) for i in (0, 5, 10)] == [1, 1, 1]
    assert len(set(labels)) == 3


def test_fewer_regions_than_clusters() -> None:
    labels = cluster_directions(np.eye(3, dtype=np.float32), 20, 0).labels
    assert sorted(labels) == [0, 1, 2]


@given(st.integers(0, 2**31), st.integers(1, 200), st.integers(1, 8), st.integers(1, 12))
@settings(max_examples=60)
def test_as_many_clusters_as_there_are_directions_up_to_what_is_wanted(
    seed: int, count: int, kinds: int, wanted: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = np.eye(8, dtype=np.float32)[rng.integers(0, kinds, count)]
    clusters = cluster_directions(vectors, wanted, seed=0)
    distinct = len({tuple(vector) for vector in vectors})
    assert len(clusters.centers) == min(wanted, distinct)
