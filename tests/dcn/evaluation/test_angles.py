"""Intra-class and inter-class angles of vectors in the plane, whose angles are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.evaluation.angles import (
    class_angles,
    class_centers,
    class_sums,
    image_angles,
    inter_class_angle,
    patch_classes,
)

Problem = tuple[np.ndarray, np.ndarray]


def directions(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def labels(*classes: int) -> np.ndarray:
    return np.array(classes, dtype=np.uint8)


@st.composite
def labelled_tokens(draw: st.DrawFn) -> Problem:
    """Tokens of four images and their classes, three at most, some ignored."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    tokens = rng.normal(size=(4, 9, 5)).astype(np.float16)
    classes = rng.integers(0, draw(st.integers(1, 3)), (4, 9)).astype(np.uint8)
    classes[rng.random(classes.shape) < 0.2] = 255
    return tokens, classes


def test_angles_by_hand() -> None:
    # Centers at 10, 90 and 200 degrees; the last token is ignored.
    tokens = directions(0, 20, 90, 170, 230, 45)
    intra, inter = image_angles(tokens, labels(0, 0, 1, 2, 2, 255), 3)
    assert intra == pytest.approx((10 + 10 + 0 + 30 + 30) / 5, abs=0.01)
    assert inter == pytest.approx((80 + 80 + 110) / 3, abs=1e-4)


def test_a_center_is_the_mean_of_directions() -> None:
    """The long token does not draw the center, which is between the two."""
    tokens = directions(0, 40) * np.array([[100], [0.1]], dtype=np.float32)
    centers = class_centers(class_sums(tokens, labels(0, 0), 1)[0])
    np.testing.assert_allclose(centers, directions(20), atol=1e-6)


def test_images_of_few_classes() -> None:
    intra, inter = image_angles(directions(0, 20), labels(1, 1), 3)
    assert intra == pytest.approx(10, abs=1e-4)
    assert np.isnan(inter)
    assert np.isnan(image_angles(directions(0, 20), labels(255, 255), 3)).all()


def test_what_has_no_direction_is_at_a_right_angle() -> None:
    tokens = np.concatenate([directions(30), np.zeros((1, 2), dtype=np.float32)])
    assert image_angles(tokens, labels(0, 0), 1)[0] == pytest.approx((0 + 90) / 2, abs=0.02)
    # Opposite tokens have no center.
    assert image_angles(directions(0, 180), labels(0, 0), 1)[0] == pytest.approx(90, abs=0.02)


@given(labelled_tokens(), st.floats(0.01, 100), st.permutations(range(3)))
@settings(max_examples=60)
def test_angles_do_not_depend_on_lengths_rotation_order_or_numbering(
    problem: Problem, length: float, numbering: list[int]
) -> None:
    tokens, classes = problem[0][0].astype(np.float32), problem[1][0]
    expected = image_angles(tokens, classes, 3)
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0].astype(np.float32)
    lengths = length * rng.uniform(0.1, 1, (9, 1)).astype(np.float32)
    order = rng.permutation(9)
    renumbered = np.array([*numbering, *[255] * 253], dtype=np.uint8)[classes]
    changed = image_angles(((tokens * lengths) @ rotation)[order], renumbered[order], 3)
    np.testing.assert_allclose(changed, expected, atol=0.05)


@given(labelled_tokens())
@settings(max_examples=60)
def test_two_passes_over_blocks_equal_one_over_everything(problem: Problem) -> None:
    tokens, classes = problem
    expected = image_angles(tokens.reshape(-1, 5), classes.ravel(), 3)
    first = [class_sums(t, c, 3) for t, c in zip(tokens, classes)]
    sums, counts = (sum(parts) for parts in zip(*first))
    centers = class_centers(sums)
    second = [class_angles(t, c, centers) for t, c in zip(np.split(tokens, 2), np.split(classes, 2))]
    angles, counted = (sum(parts) for parts in zip(*second))
    np.testing.assert_array_equal(counted, counts)
    np.testing.assert_array_equal(counts, [(classes == label).sum() for label in range(3)])
    if counts.any():
        assert angles.sum() / counts.sum() == pytest.approx(expected[0], abs=1e-6)
    assert inter_class_angle(centers, counts) == pytest.approx(expected[1], abs=1e-6, nan_ok=True)


@given(labelled_tokens())
@settings(max_examples=40)
def test_angles_against_a_plain_loop(problem: Problem) -> None:
    tokens, classes = problem[0][0].astype(np.float64), problem[1][0]
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    present = [label for label in range(3) if (classes == label).any()]
    centers = {label: unit[classes == label].mean(axis=0) for label in present}

    def angle(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))

    intra = [angle(u, centers[label]) for u, label in zip(unit, classes) if label != 255]
    inter = [
        min(angle(centers[a], centers[b]) for b in present if b != a) for a in present if len(present) > 1
    ]
    expected = [float(np.mean(values)) if values else np.nan for values in (intra, inter)]
    np.testing.assert_allclose(image_angles(problem[0][0], classes, 3), expected, atol=0.05)


def test_the_class_of_a_patch_is_that_of_most_of_its_pixels() -> None:
    mask = np.array(
        [
            [1, 1, 2, 255],
            [1, 0, 255, 255],
            [3, 255, 4, 5],
            [3, 255, 5, 4],
        ],
        dtype=np.uint8,
    )
    # 255 has the majority of the second patch; in the third it draws with 3, in the fourth 4 draws with 5.
    assert patch_classes(mask, 2).tolist() == [1, 255, 3, 4]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=60)
def test_patches_against_a_loop_over_pixels(height: int, width: int, side: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 4, (height, width)).astype(np.uint8)
    found = patch_classes(mask, side)
    assert found.shape == (side * side,)
    votes = np.zeros((side, side, 256), dtype=np.int64)
    for row in range(height):
        for column in range(width):
            patch = int((row + 0.5) * side / height), int((column + 0.5) * side / width)
            votes[(*patch, mask[row, column])] += 1
    filled = votes.any(axis=2).ravel()
    assert filled.all() or min(height, width) < side
    if min(height, width) >= side:
        np.testing.assert_array_equal(found, votes.argmax(axis=2).ravel())


def test_a_mask_smaller_than_its_patches() -> None:
    mask = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    assert patch_classes(mask, 4).reshape(4, 4)[::2, ::2].tolist() == mask.tolist()
    assert patch_classes(mask, 3).reshape(3, 3)[::2, ::2].tolist() == mask.tolist()
