"""Stage ``segment``: finds the regions of every photograph, and the foreground (sections 3.2 and 4.1.2)."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dcn.errors import InvalidLabelMapError
from dcn.foreground import foreground_regions, reduce_heads, region_scores
from dcn.refinement import fine_label_map, guide_side, label_side
from dcn.regions import region_areas, region_boxes
from dcn.segmenters.assignment import map_assignment
from dcn.speckles import remove_speckles
from flows import progress
from flows.errors import EmptyDatasetError, name_parameters
from flows.inputs.datasets import open_dataset, read_squashed
from flows.inputs.image_index import IndexedImage, open_index
from flows.inputs.parallel import batched, in_threads
from flows.inputs.region_counts import region_counts
from flows.inputs.region_maps import RegionMaps
from flows.inputs.summaries import ExtractSummary, SegmentSummary
from flows.settings import SegmentSettings, Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn, warn_of_refused
from flows.stages.segmenters import fit_segmenter, open_segmenter
from storage import ArraySpec, Manifest

# Images that a segmenter gets at once. They suffice for efficient matrix products of the network. With 784
# tokens of width 384 in bfloat16 they take less than 32 MiB. For more, malloc asks the kernel for fresh pages
# every time.
SEGMENT_BATCH = 32


class SegmentStage(Stage):
    """Writes ``assignment [N, n, k]`` and ``area``, ``box``, ``foreground_score``, ``foreground`` ``[N, k]``.

    Also ``labels [N, S, S]`` if the borders are refined, small parts are removed, or another program made the
    label maps. Areas and boxes are in pixels of the original photograph. A region that does not occur has
    area 0.
    """

    name = "segment"
    version = 6

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        trained = ("train",) if settings.segment.segmenter.trained else ()
        return ("index", "extract", *trained)

    def settings(self, settings: Settings) -> dict[str, Any]:
        segmenter = settings.segment.segmenter
        # Without warnings, because the defaults (Settings.at_defaults) lack options that have no default.
        chosen = settings.segment.model_dump(mode="json", warnings=False)
        with name_parameters("setting segment.segmenter.{}"):
            chosen["segmenter"] |= segmenter.content()
        if segmenter.reads_maps:
            del chosen["refine"]
        if segmenter.uses_resolution:
            chosen["resolution"] = settings.train.resolution
        return chosen

    def layout(self, job: Job) -> Layout:
        extract = job.checkpoint("extract").require()
        n, k = ExtractSummary.read(job).tokens_per_image, job.settings.num_regions
        sides = (label_side(n), label_side(n))
        fine = (ArraySpec("labels", sides, "uint8", ("row", "column")),)
        arrays = (
            ArraySpec("assignment", (n, k), "float16", ("patch", "region")),
            *(fine if job.settings.segment.stores_labels else ()),
            ArraySpec("area", (k,), "int64", ("region",)),
            ArraySpec("box", (k, 4), "int32", ("region", "top_left_bottom_right")),
            ArraySpec("foreground_score", (k,), "float32", ("region",)),
            ArraySpec("foreground", (k,), "bool", ("region",)),
        )
        return Layout(extract.rows, extract.shard_rows, arrays)

    def prepare(self, job: Job) -> None:
        fit_segmenter(job)

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        start, stop = manifest.shard_range(shard)
        extract, settings = job.checkpoint("extract"), job.settings.segment
        present = extract.array("present").rows(start, stop)
        arrays = {
            spec.name: np.zeros((stop - start, *spec.row_shape), dtype=spec.dtype) for spec in manifest.arrays
        }
        images = [image for image in open_index(job).images(start, stop) if present[image.row - start]]
        find_regions = _read_maps if settings.segmenter.reads_maps else _segment
        images, seconds, refused = find_regions(job, images, arrays, start)
        maps = RegionMaps(start, arrays["assignment"], arrays.get("labels"))
        describe = partial(_describe, settings, maps, extract.array("attention").rows(start, stop))
        for row, described in in_threads(describe, images):
            for name, values in described.items():
                arrays[name][row] = values
            progress.advance(self.name, 1)
        return ShardResult(arrays, {"seconds_of_segmentation": seconds, "refused": refused})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        counts, checkpoint = region_counts(job), job.checkpoint(self.name)
        images = (counts > 0).sum()
        warn_of_refused(checkpoint, manifest, "was left out", warn)
        if not images:
            raise EmptyDatasetError(
                "no photograph could be segmented; the warnings of extract and segment have the reasons"
            )
        seconds = [record.info["seconds_of_segmentation"] for record in checkpoint.records(manifest)]
        foreground = sum(int(block.sum()) for block in checkpoint.array("foreground").blocks())
        return SegmentSummary(
            images=int(images),
            segmentation_seconds_per_image=None if None in seconds else float(sum(seconds) / images),
            regions_per_image=float(counts.sum() / images),
            foreground_regions_per_image=float(foreground / images),
        ).to_json()


def _segment(
    job: Job, images: list[IndexedImage], arrays: dict[str, npt.NDArray[Any]], start: int
) -> tuple[list[IndexedImage], float | None, list[dict[str, str]]]:
    """Segment photographs of the shard from row ``start`` on into the arrays of the shard.

    Returns:
        The photographs that were segmented; the seconds that the segmenter took, or None if they are unknown;
        and the refused files.

    """
    segmenter, settings = open_segmenter(job), job.settings.segment
    stop = start + len(arrays["assignment"])
    tokens = job.checkpoint("extract").array("tokens").rows(start, stop)
    patches = tokens.shape[1]
    colors: npt.NDArray[np.float32] | None = None
    guides: npt.NDArray[np.uint8] | None = None
    refused: list[dict[str, str]] = []
    if settings.segmenter.needs_colors:
        images, squashed, refused = _read_photographs(job, images, round(patches**0.5), start, stop)
        colors = (squashed / 255).astype(np.float32).reshape(-1, patches, 3)
    if settings.refine:  # a photograph may be gone since the colors were read
        images, guides, changed = _read_photographs(job, images, guide_side(patches), start, stop)
        refused += changed
    seconds = 0.0
    for few in batched(images, SEGMENT_BATCH):
        rows = [image.row - start for image in few]
        began = time.perf_counter()
        assigned = segmenter(tokens[rows], None if colors is None else colors[rows])
        seconds += time.perf_counter() - began
        arrays["assignment"][rows] = assigned
    if settings.stores_labels:
        fine = partial(_fine_labels, settings, arrays["assignment"], guides)
        for row, labels in in_threads(fine, [image.row - start for image in images]):
            arrays["labels"][row] = labels
    return images, seconds, refused


def _read_maps(
    job: Job, images: list[IndexedImage], arrays: dict[str, npt.NDArray[Any]], start: int
) -> tuple[list[IndexedImage], float | None, list[dict[str, str]]]:
    """Take the regions from label maps that another program made; see :func:`_segment`."""
    settings = job.settings.segment
    side, (_, patches, k) = arrays["labels"].shape[1], arrays["assignment"].shape

    def read(image: IndexedImage) -> tuple[IndexedImage, npt.NDArray[np.uint8] | None, str]:
        try:
            return image, settings.segmenter.read_map(image.item.id, side), ""
        except InvalidLabelMapError as error:
            return image, None, str(error)

    readable, refused = [], []
    for image, labels, reason in in_threads(read, images):
        if labels is None:
            refused.append({"file": image.item.image, "reason": reason})
            continue
        readable.append(image)
        arrays["labels"][image.row - start] = remove_speckles(labels, settings.smallest_part)
        arrays["assignment"][image.row - start] = map_assignment(labels, patches, k)
    return readable, None, refused


def _read_photographs(
    job: Job, images: list[IndexedImage], side: int, start: int, stop: int
) -> tuple[list[IndexedImage], npt.NDArray[np.uint8], list[dict[str, str]]]:
    """Read photographs of the shard from ``start`` to before ``stop``, squashed to a square.

    Returns:
        The photographs that can be read, the pixels ``[s, side, side, 3]`` of the whole shard, zero for all
        others, and the refused files.

    """
    read = partial(read_squashed, open_dataset(job.settings.dataset), side)
    pixels = np.zeros((stop - start, side, side, 3), dtype=np.uint8)
    readable, refused = [], []
    for image, squashed, reason in in_threads(read, images):
        if squashed is None:
            refused.append({"file": image.item.image, "reason": reason})
        else:
            readable.append(image)
            pixels[image.row - start] = squashed
    return readable, pixels, refused


def _fine_labels(
    settings: SegmentSettings,
    assignment: npt.NDArray[np.float16],
    guides: npt.NDArray[np.uint8] | None,
    row: int,
) -> tuple[int, npt.NDArray[np.uint8]]:
    """Compute the label map of one photograph. Returns its row in the shard too."""
    guide = None if guides is None else guides[row]
    return row, fine_label_map(assignment[row], guide, settings.smallest_part)


def _describe(
    settings: SegmentSettings,
    maps: RegionMaps,
    attention: npt.NDArray[np.float16],
    image: IndexedImage,
) -> tuple[int, dict[str, npt.NDArray[Any]]]:
    """Compute area, box and foreground of the regions of one photograph. Returns its row in the shard too."""
    import torch

    assert settings.attention_reduction is not None
    assert settings.region_score is not None
    assert settings.foreground_split is not None
    row = image.row - maps.start
    k = maps.assignment.shape[2]
    labels = maps.of(image)  # [H, W]
    area = region_areas(labels, k)
    pixels = reduce_heads(torch.from_numpy(attention[row]).float(), settings.attention_reduction)
    scores = region_scores(pixels, labels, k, settings.region_score)
    background = settings.segmenter.background_region(labels)
    if background is None:
        foreground = foreground_regions(scores, area, settings.foreground_split)
    else:
        foreground = (area > 0) & (np.arange(k) != background)
    return row, {
        "area": area,
        "box": region_boxes(labels, k),
        "foreground_score": scores,
        "foreground": foreground,
    }
