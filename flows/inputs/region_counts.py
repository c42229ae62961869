"""The number of regions of each photograph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flows.stage import Job


def region_counts(job: Job) -> npt.NDArray[np.uint8]:
    """Count the regions of each photograph, ``[N]``; 0 for a photograph that could not be segmented."""
    areas = job.checkpoint("segment").array("area").blocks()  # [b, k] each
    return np.concatenate([(area > 0).sum(axis=1, dtype=np.uint8) for area in areas])
