"""Region retrieval by hand, against scikit-learn's classifier, and against a loop over all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from dcn.evaluation import knn
from dcn.evaluation.knn import NEIGHBORS, RegionBank, _elect, majority_classes


def directions(*degrees: float) -> np.ndarray:
    """Vectors in the plane of various lengths, which must not matter."""
    angles = np.radians(degrees)
    lengths = np.linspace(0.2, 5, len(degrees))
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None]).astype(np.float32)


def apart(bank: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image numbers of two splits that share no image."""
    return np.arange(len(bank)), np.arange(len(queries)) + len(bank)


def classify(
    bank: np.ndarray, bank_class: list[int], queries: np.ndarray, neighbors: tuple[int, ...] = (1,)
) -> dict[int, list[int]]:
    bank_image, query_image = apart(bank, queries)
    found = RegionBank(bank, np.array(bank_class), bank_image).classify(queries, query_image, neighbors)
    return {k: classes.tolist() for k, classes in found.items()}


def test_a_region_is_labelled_by_its_majority() -> None:
    overlap = np.array([[3, 4, 0], [5, 1, 1], [0, 2, 2], [0, 0, 0]])
    assert majority_classes(overlap).tolist() == [1, 0, 1, -1]


def test_votes_by_hand() -> None:
    # From the query at 0 degrees: class 1 at 10 (0.985), class 2 at 50 (0.643) and 60 (0.5), class 3 at 70.
    bank, classes = directions(10, -50, 60, 70), [1, 2, 2, 3]
    # Of two, 0.985 against 0.643; of three, 0.985 against 1.143; the fourth adds 0.342 for class 3.
    assert classify(bank, classes, directions(0), (1, 2, 3, 4)) == {1: [1], 2: [1], 3: [2], 4: [2]}


def test_similarity_weighs_more_than_number() -> None:
    # Two neighbors of class 2 with cosines 0.34 and 0.26 against one of class 1 with 0.94.
    assert classify(directions(20, 70, 75), [1, 2, 2], directions(0), (3,)) == {3: [1]}


def test_of_equal_votes_the_nearest_decides() -> None:
    classes = np.array([[7, 3, 3, 5], [3, 7, 7, 5], [3, 5, 3, 5]])
    votes = np.array([[1, 0.5, 0.5, 0.25], [1, 0.5, 0.5, 0.25], [0, 0, 0, 0]])
    assert _elect(classes, votes).tolist() == [7, 3, 3]


def test_of_equal_neighbors_the_first_in_the_bank_is_nearest() -> None:
    bank = np.array([[0.6, 0.8], [0.6, -0.8]], dtype=np.float32)
    assert classify(bank, [3, 5], directions(0), (1, 2)) == {1: [3], 2: [3]}
    assert classify(bank, [5, 3], directions(0), (1, 2)) == {1: [5], 2: [5]}


def test_negative_cosines_do_not_vote() -> None:
    # Class 2 has 0.17, class 1 has 0.16; with its cosine of -0.98 class 2 would lose.
    assert classify(directions(80, 170, 81), [2, 2, 1], directions(0), (3,)) == {3: [2]}
    # All are negative: the nearest decides.
    assert classify(directions(120, 100, 180), [1, 2, 1], directions(0), (3,)) == {3: [2]}


def test_what_has_no_direction() -> None:
    bank = np.concatenate([np.zeros((1, 2), dtype=np.float32), directions(170)])
    # The zero embedding is no neighbor, although any distance to it is less than to the other.
    assert classify(bank, [1, 2], directions(0), (1, 2)) == {1: [2], 2: [2]}
    assert classify(bank, [1, 2], np.zeros((2, 2), dtype=np.float32)) == {1: [0, 0]}
    assert classify(bank[:1], [1], directions(0)) == {1: [0]}
    assert classify(bank[:0], [], directions(0)) == {1: [0]}


def test_regions_without_a_label_are_no_neighbors() -> None:
    assert classify(directions(0, 40), [-1, 3], directions(1)) == {1: [3]}


def test_a_small_bank_gives_what_it_has() -> None:
    assert classify(directions(0, 40), [2, 3], directions(50), NEIGHBORS) == {k: [3] for k in NEIGHBORS}


def test_regions_of_the_own_image_are_no_neighbors() -> None:
    vectors, classes = directions(0, 1, 90, 91), np.array([1, 2, 3, 4])
    image = np.array([0, 0, 1, 1])
    found = RegionBank(vectors, classes, image).classify(vectors, image, (1,))
    assert found[1].tolist() == [3, 3, 2, 2]
    alone = np.zeros(4, dtype=np.int64)
    found = RegionBank(vectors, classes, alone).classify(vectors, alone, (1, 3))
    assert found[3].tolist() == [0, 0, 0, 0]


def test_equal_to_scikit_learns_weighted_classifier() -> None:
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(400, 16)).astype(np.float32)
    queries = rng.normal(size=(150, 16)).astype(np.float32)
    classes = rng.integers(0, 5, 400)
    bank_image, query_image = apart(bank, queries)
    found = RegionBank(bank, classes, bank_image).classify(queries, query_image)
    for k in NEIGHBORS:
        theirs = KNeighborsClassifier(
            k, metric="cosine", algorithm="brute", weights=lambda distance: (1 - distance).clip(min=0)
        )
        np.testing.assert_array_equal(found[k], theirs.fit(bank, classes).predict(queries))


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=40)
def test_equal_to_a_loop_over_all_pairs(seed: int, images: int, regions: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), regions)
    vectors = rng.normal(size=(len(image), 3)).astype(np.float32)
    vectors[rng.random(len(image)) < 0.1] = 0
    classes = rng.integers(-1, 3, len(image))
    found = RegionBank(vectors, classes, image).classify(vectors, image)
    for k in NEIGHBORS:
        assert found[k].tolist() == [slow(vectors, classes, image, i, k) for i in range(len(image))]


def slow(vectors: np.ndarray, classes: np.ndarray, image: np.ndarray, query: int, k: int) -> int:
    if not vectors[query].any():
        return 0
    candidates = [
        (
            vectors[j] @ vectors[query] / np.linalg.norm(vectors[j]) / np.linalg.norm(vectors[query]),
            classes[j],
        )
        for j in range(len(vectors))
        if image[j] != image[query] and classes[j] >= 0 and vectors[j].any()
    ]
    nearest = sorted(candidates, key=lambda pair: -pair[0])[:k]
    votes: dict[int, float] = {}
    for cosine, label in nearest:
        votes[int(label)] = votes.get(int(label), 0) + max(cosine, 0)
    return max(votes, key=votes.__getitem__, default=0)  # the first of equals, which is the nearest


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    classes, image = rng.integers(0, 4, 60), np.arange(60) // 3
    whole = RegionBank(vectors, classes, image).classify(vectors, image)
    monkeypatch.setattr(knn, "_BLOCK", 7)
    for k, found in RegionBank(vectors, classes, image).classify(vectors, image).items():
        np.testing.assert_array_equal(found, whole[k])


def test_a_bank_may_be_asked_bit_by_bit() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(60, 8)).astype(np.float32)
    classes, image = rng.integers(0, 4, 60), np.arange(60) // 3
    bank = RegionBank(vectors, classes, image)
    whole = bank.classify(vectors, image)
    parts = [bank.classify(vectors[rows], image[rows]) for rows in np.array_split(np.arange(60), 7)]
    for k, found in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[k] for part in parts]), found)
