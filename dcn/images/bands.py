"""Bands of rows of a large image: a computation that widens its pixels takes memory for one band only."""

from __future__ import annotations

from collections.abc import Iterator

_PIXELS = 1 << 20


def bands(height: int, width: int, pixels: int = _PIXELS) -> Iterator[slice]:
    """Divide the rows of an image into bands, from top to bottom.

    Args:
        height: number of rows.
        width: number of pixels in a row, at least 1.
        pixels: largest number of pixels in a band; a band has at least one row.

    Yields:
        The rows of each band.

    Example:
        >>> list(bands(height=5, width=100, pixels=250))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]

    """
    rows = max(1, pixels // width)
    for top in range(0, height, rows):
        yield slice(top, min(height, top + rows))
