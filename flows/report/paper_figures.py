"""Draw the paper's figures 1, 2, 4 and 5 from a run, for its page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.preprocessing import normalize

from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.evaluation.knn import majority_classes
from dcn.evaluation.protocols import Regions, join_regions
from dcn.figures.qualitative import SegmentedPhotograph, qualitative_figure
from dcn.figures.retrieval import RegionView, Retrieval, nearest_regions, retrieval_figure
from dcn.figures.similarity import Query, TokenImage, query_patch, similarity_figure
from dcn.figures.tokens_tsne import ClusteredImage, tokens_tsne_figure
from dcn.network import image_centers
from flows.evaluation.region_table import read_regions, region_blocks
from flows.inputs.image_index import IndexedImage, evenly_spread
from flows.inputs.models import load_network
from flows.report.photographs import region_view
from flows.report.pictures import ResultMaps, ResultReader
from flows.stage import Job

_TSNE_IMAGES = 2
_SIMILARITY_IMAGES, _SIMILARITY_QUERIES = 4, 3
_QUALITATIVE_IMAGES = 4
_RETRIEVAL_QUERIES, _RETRIEVAL_NEIGHBORS = 4, 5
# Pixels of the longest side of a photograph, more than a cell of a figure shows.
_LONGEST_SIDE = 480


@dataclass(frozen=True)
class PaperFigure:
    """A figure with its title and its caption."""

    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class ShownImage:
    """An evaluated photograph, whose maps are read when a figure needs them."""

    image: IndexedImage
    reader: ResultReader

    @cached_property
    def maps(self) -> ResultMaps:
        """All maps, at the size of the figures."""
        return self.reader.maps(self.image, _LONGEST_SIDE)

    @property
    def readable(self) -> bool:
        """Whether photograph and ground truth are still there."""
        try:
            return self.maps.photograph.size > 0
        except (InvalidPhotographError, InvalidMaskError):
            return False


def paper_figures(job: Job, reader: ResultReader, shown: list[ShownImage]) -> Iterator[PaperFigure]:
    """Draw one after the other the figures that the run has the data for.

    Args:
        job: the run; its ``evaluate`` is complete.
        reader: reader of the run.
        shown: photographs of the evaluated split. Without photographs there are no figures.

    """
    few = list(islice((one for one in shown if one.readable), _QUALITATIVE_IMAGES))
    if not few:
        return
    yield PaperFigure(
        "Tokens and cluster centers",
        "t-SNE of the tokens of single photographs, colored by their cluster: tokens that are alike lie "
        "close together. Stars are the centers of the clusters (after figure 1 of the paper).",
        tokens_tsne_figure([_clustered(job, one) for one in few[:_TSNE_IMAGES]]),
    )
    yield PaperFigure(
        "Similarity within and across photographs",
        "Cosine similarity of the marked patch with every patch of its own photograph and of others "
        "(after figure 2 of the paper).",
        _similarity(job, few[:_SIMILARITY_IMAGES]),
    )
    named = reader.named
    assert named is not None
    labelled = any(one.maps.truth is not None for one in few)
    classes = f"classes by {job.settings.evaluate.clustering.title}"
    columns = f"Regions, {classes}, and ground truth" if labelled else f"Regions, and {classes}"
    yield PaperFigure(
        "Qualitative results",
        f"{columns} (after figure 4 of the paper).",
        qualitative_figure(
            [
                SegmentedPhotograph(
                    m.photograph,
                    m.regions,
                    None if m.semantic is None else named.of_clusters(m.semantic),
                    m.truth,
                )
                for m in (one.maps for one in few)
            ],
            named.names,
            reader.named_palette(),
            reader.index.summary.ignore_label,
        ),
    )
    if not job.settings.regions_are_classes:
        retrievals = _retrievals(job, reader, shown)
        if retrievals:
            yield PaperFigure(
                "Region retrieval",
                "Foreground regions and the regions of other photographs that are most like them, "
                "with the cosine of their embeddings (after figure 5 of the paper).",
                retrieval_figure(retrievals),
            )


def _clustered(job: Job, one: ShownImage) -> ClusteredImage:
    row = one.image.row
    tokens = job.checkpoint("extract").array("tokens").rows(row, row + 1)[0].astype(np.float32)
    assignment = job.checkpoint("segment").array("assignment").rows(row, row + 1)[0]
    if job.settings.segment.segmenter.trained:
        network = load_network(job)
        projected = network.project(torch.from_numpy(tokens)[None].to(network.prototypes.device))
        centers = image_centers(network, projected)[0].cpu().numpy()
        tokens = projected[0].float().cpu().numpy()
    else:  # other segmenters have no centers, so the mean directions of the regions stand for them
        members = np.eye(assignment.shape[1], dtype=np.float32)[assignment.argmax(axis=1)]  # [n, k]
        centers = normalize(members.T @ normalize(tokens))
    return ClusteredImage(one.maps.photograph, tokens, centers, assignment, one.maps.regions)


def _similarity(job: Job, shown: list[ShownImage]) -> Figure:
    images, queries = [], []
    segment = job.checkpoint("segment")
    for place, one in enumerate(shown):
        row = one.image.row
        tokens = job.checkpoint("extract").array("tokens").rows(row, row + 1)[0]
        images.append(TokenImage(one.maps.photograph, tokens.astype(np.float32)))
        if place < _SIMILARITY_QUERIES:
            assignment, foreground = (
                segment.array(name).rows(row, row + 1)[0] for name in ("assignment", "foreground")
            )
            queries.append(Query(place, query_patch(assignment, foreground)))
    return similarity_figure(images, queries)


def _retrievals(job: Job, reader: ResultReader, shown: list[ShownImage]) -> list[Retrieval]:
    """Find the nearest neighbors of the largest foreground region of some photographs.

    They come from the training split, or from the evaluated one if only its regions are embedded.
    """
    asked = read_regions(job, np.array([one.image.row for one in shown]))
    queries = []
    for one in shown:
        candidates = np.flatnonzero((asked.image == one.image.row) & asked.foreground & asked.embedded)
        if len(candidates):
            area = job.checkpoint("segment").array("area").rows(one.image.row, one.image.row + 1)[0]  # [k]
            queries.append(int(candidates[area[asked.index[candidates]].argmax()]))
    summary = reader.index.summary
    training = job.settings.embeds_training_split
    rows = reader.index.split_rows(summary.train_split if training else summary.evaluate_split)
    bank = region_blocks(job, evenly_spread(rows, job.settings.evaluate.sampled_images))
    nearest = _nearest(asked, queries, bank)
    found: list[Retrieval] = []
    for query, neighbors in zip(queries, nearest, strict=True):
        if not len(neighbors.image) or len(found) == _RETRIEVAL_QUERIES:
            continue
        _, cosines = nearest_regions(asked.embedding[query], neighbors.embedding, _RETRIEVAL_NEIGHBORS)
        try:
            views = [_view(reader, neighbors, row) for row in range(len(neighbors.image))]
            found.append(Retrieval(_view(reader, asked, query), views, cosines))
        except (InvalidPhotographError, InvalidMaskError):
            continue  # a photograph vanished after its embedding, so another query is shown
    return found


def _nearest(asked: Regions, queries: list[int], bank: Iterable[Regions]) -> list[Regions]:
    """Find for each query the most similar regions of other photographs, the nearest first."""
    nearest = [asked.take(np.zeros(0, dtype=np.int64)) for _ in queries]
    for block in bank:
        for place, query in enumerate(queries):
            others = block.take((block.image != asked.image[query]) & block.embedded)
            both = join_regions([nearest[place], others])
            kept, _ = nearest_regions(asked.embedding[query], both.embedding, _RETRIEVAL_NEIGHBORS)
            nearest[place] = both.take(kept)
    return nearest


def _view(reader: ResultReader, regions: Regions, row: int) -> RegionView:
    image = reader.index.image(int(regions.image[row]))
    label = int(majority_classes(regions.overlap[row : row + 1])[0])
    name = reader.index.class_names[label] if label >= 0 else None
    maps = reader.maps(image, _LONGEST_SIDE)
    return region_view(reader, image, maps, int(regions.index[row]), name)
