"""The bank of k-NN: the labelled regions of the training split, found or true (section 4.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dcn.evaluation.knn import RegionBank
from dcn.evaluation.protocols import Regions, region_bank
from flows.evaluation.inputs import EvaluatedRun
from flows.evaluation.region_table import ReadBlocks
from flows.inputs.image_index import evenly_spread

# The number of neighbors that the paper prints in bold.
HEADLINE_NEIGHBORS = 5


def headline_neighbors(measured: Collection[int]) -> int:
    """Choose the number of neighbors that tables show among those that were measured, at least one."""
    return HEADLINE_NEIGHBORS if HEADLINE_NEIGHBORS in measured else next(iter(measured))


def read_bank(run: EvaluatedRun, read: ReadBlocks) -> tuple[RegionBank | None, int]:
    """Build the bank from ``evaluate.sampled_images`` photographs of the training split.

    Args:
        run: the run.
        read: reads the regions of some photographs.

    Returns:
        The bank, None without labels; and the number of regions without embedding.

    """
    split = run.index.split_rows(run.index.summary.train_split)
    rows = evenly_spread(split, run.settings.evaluate.sampled_images)
    labelled, missing = False, 0

    def blocks() -> Iterator[Regions]:
        nonlocal labelled, missing
        for regions in read(run.job, rows):
            labelled |= bool(regions.overlap.any())
            missing += int((~regions.embedded).sum())
            yield regions

    bank = region_bank(blocks())
    return bank if labelled else None, missing
