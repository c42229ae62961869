"""The foreground regions of a run, as its evaluation takes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flows.settings import Settings


def evaluated_foreground(settings: Settings, found: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Take all regions as foreground if the run has no foreground step (``evaluate.background: none``).

    Args:
        settings: settings of the run.
        found: whether a region is foreground, as ``segment`` found it, of any shape.

    """
    return found if settings.finds_foreground else np.ones_like(found)
