"""The evaluation by k-means against scikit-learn's fits alone, the confusion matrix against numpy.bincount.

    python -m benchmarks.evaluation [--regions 10000] [--images 1449] [--pairs 5] [--json FILE]

k-means: 10 seeds, 20 clusters, as the protocol of section 4.3 with matching and metrics; scikit-learn gets
the same unit vectors, already normalized. Confusion matrix: 500 x 375 labels of regions and classes in uint8,
image by image and then by predicted class, against one ``numpy.bincount`` of the pixels of each image, whose
pairs of labels are numbers already.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from benchmarks.row import Row, add_json_option, show_rows
from dcn.clusterers import KMeansClusterer
from dcn.evaluation.overlap import confusion_matrix, region_overlap
from dcn.evaluation.protocols import Regions, matched_classes
from dcn.evaluation.region_clusters import cluster_regions

WIDTH, CLASSES, CLUSTERS, SEEDS, REGIONS = 384, 21, 20, 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, default=10000)
    parser.add_argument("--images", type=int, default=1449)
    parser.add_argument("--pairs", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    show_rows(
        [kmeans(arguments.regions, arguments.pairs), confusion(arguments.images, arguments.pairs)],
        arguments.json,
    )


def kmeans(count: int, pairs: int) -> Row:
    generator = np.random.default_rng(0)
    centers = generator.normal(size=(30, WIDTH))
    embedding = centers[generator.integers(0, 30, count)] + 2 * generator.normal(size=(count, WIDTH))
    regions = Regions(
        image=np.arange(count) // REGIONS,
        index=np.arange(count) % REGIONS,
        overlap=generator.integers(0, 1000, (count, CLASSES)),
        foreground=np.ones(count, dtype=bool),
        embedding=embedding.astype(np.float32),
    )
    unit = normalize(regions.embedding)

    def ours() -> None:
        for clusters in cluster_regions(regions, KMeansClusterer(), CLUSTERS, SEEDS):
            predicted = clusters.predict(regions)
            matched_classes(confusion_matrix(regions.overlap, predicted, CLUSTERS + 1))

    def fits() -> None:
        for seed in range(SEEDS):
            KMeans(CLUSTERS, n_init=1, random_state=seed).fit(unit)

    what = f"k-means evaluation, {SEEDS} seeds, {count:,} regions"
    return compared(what, "scikit-learn's fits alone", 0.8, ours, fits, pairs)


def confusion(images: int, pairs: int) -> Row:
    generator = np.random.default_rng(0)
    # A hundred different images, over and over.
    drawn = [(blobs(generator, REGIONS), blobs(generator, CLASSES)) for _ in range(min(images, 100))]
    joined = [labels.astype(np.intp) * 256 + mask for labels, mask in drawn]
    predicted = generator.integers(0, CLASSES, images * REGIONS)

    def ours() -> npt.NDArray[np.int64]:
        tables = [region_overlap(*drawn[number % len(drawn)], REGIONS, CLASSES) for number in range(images)]
        return confusion_matrix(np.concatenate(tables), predicted, CLASSES)

    def bincount() -> None:
        for number in range(images):
            np.bincount(joined[number % len(joined)].ravel(), minlength=256 * REGIONS)

    what = f"confusion matrix of {images:,} images of 500 x 375"
    return compared(what, "numpy.bincount", 0.7, ours, bincount, pairs)


def blobs(generator: np.random.Generator, count: int) -> npt.NDArray[np.uint8]:
    """``[375, 500]`` labels in patches of 8 pixels."""
    patches = generator.integers(0, count, (47, 63), dtype=np.uint8)
    return np.ascontiguousarray(patches.repeat(8, axis=0).repeat(8, axis=1)[:375, :500])


def compared(
    what: str, against: str, goal: float, ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int
) -> Row:
    """Their seconds through ours: the median of interleaved pairs, after one that does not count."""
    seconds: list[tuple[float, float]] = []
    for _ in range(pairs + 1):
        taken = []
        for work in (ours, theirs):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
        seconds.append((taken[0], taken[1]))
    ratio = statistics.median(theirs / ours for ours, theirs in seconds[1:])
    medians = [statistics.median(side) for side in zip(*seconds[1:], strict=True)]
    details = {"s": medians[0], f"s of {against}": medians[1]}
    return Row(what, against, ratio, "of its speed", goal, details=details)


if __name__ == "__main__":
    main()
