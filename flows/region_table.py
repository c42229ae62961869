"""The regions of some photographs as one table, from the checkpoints of the stages that made them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcn.evaluation.protocols import Regions
from flows.image_index import open_index
from flows.stage import Job


def read_regions(job: Job, rows: npt.NDArray[np.int64]) -> Regions:
    """Every region that occurs in the photographs ``rows``.

    Without ground truth the overlap has one column of zeros; without the stage ``embed``, embeddings have no
    width.
    """
    segment, count = job.checkpoint("segment"), len(open_index(job))
    area = segment.array("area").rows(0, count)
    image, index = np.nonzero(area[rows] > 0)
    image = rows[image]
    overlap = np.zeros((*area.shape, 1), dtype=np.int64)
    if open_index(job).class_names:
        overlap = job.checkpoint("evaluate").array("overlap").rows(0, count)
    embedding = np.zeros((*area.shape, 0), dtype=np.float32)
    if not job.settings.regions_are_classes:
        embedding = job.checkpoint("embed").array("embedding").rows(0, count)
    foreground = segment.array("foreground").rows(0, count)
    return Regions(
        image=image,
        index=index,
        overlap=overlap[image, index],
        foreground=foreground[image, index],
        embedding=embedding[image, index],
    )
