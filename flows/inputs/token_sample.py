"""A random sample of the cached tokens, from which whitenings and first prototypes are computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from storage.arrays import ArrayReader

# Images, and tokens of each.
_IMAGES, _TOKENS = 64, 64


def sample_tokens(
    tokens: ArrayReader, rows: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Draw random tokens of random images, the same number from each.

    Args:
        tokens: the array ``tokens`` of ``extract``, ``[N, n, d]``.
        rows: rows of the images to draw from.
        seed: seed of the draw.

    Returns:
        The rows of the drawn images ``[r]``, in order, and their tokens ``[r, 64, d]``.

    """
    generator = np.random.default_rng([seed, 1])
    drawn = np.sort(generator.permutation(rows)[:_IMAGES])
    found = tokens.read_ahead(drawn).result()  # [r, n, d]
    columns = generator.integers(0, found.shape[1], (len(drawn), _TOKENS))
    return drawn, np.take_along_axis(found, columns[..., None], axis=1).astype(np.float32)
