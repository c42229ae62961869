"""Tokens with known groups, and the checks that every assignment must pass."""

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import normalize

from dcn.regions import label_map
from dcn.segmenters.assignment import ABSENT

Floats = npt.NDArray[np.float32]


def planted(groups: int, side: int, seed: int, noise: float = 0.05) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Tokens ``[side^2, 8]`` of random lengths around orthogonal directions, and their groups."""
    rng = np.random.default_rng(seed)
    owner = rng.permutation(np.arange(side**2) % groups)
    directions = np.linalg.qr(rng.normal(size=(8, 8)))[0][:groups]
    tokens = directions[owner] + noise * rng.normal(size=(side**2, 8))
    return (tokens * rng.uniform(0.5, 2, (side**2, 1))).astype(np.float32), owner


def random_tokens(n: int, d: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def cosine_affinity(tokens: Floats) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = normalize(tokens.astype(np.float64))
    return unit @ unit.T


def check_assignment(assignment: Floats, n: int, k: int) -> npt.NDArray[np.int64]:
    """Check what every assignment must fulfill; returns the label of each token."""
    assert assignment.shape == (n, k)
    assert assignment.dtype == np.float32
    assert ((assignment >= ABSENT) & (assignment <= 0)).all()  # NaN fails this as well
    labels: npt.NDArray[np.int64] = assignment.argmax(axis=1)
    np.testing.assert_array_equal(assignment.astype(np.float16).argmax(axis=1), labels)
    assert set(np.unique(label_map(assignment.astype(np.float16), 23, 19))) <= set(labels)
    return labels
