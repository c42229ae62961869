"""Stage ``index``: lists the photographs of the data set, and records which of them are usable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from dcn.datasets import Dataset, Item
from dcn.errors import InvalidMaskError, InvalidPhotographError
from dcn.images.files import is_lasting, read_file
from dcn.images.photograph import labels_of
from flows import progress
from flows.errors import EmptyDatasetError, name_parameters
from flows.inputs.datasets import open_dataset, skipped_files
from flows.inputs.image_index import digest_truth
from flows.inputs.parallel import batched, in_threads
from flows.inputs.summaries import IndexSummary
from flows.settings import AnyDataset, Settings
from flows.stage import Job, Layout, ShardResult, Stage, Warn
from storage import Manifest, content_key
from storage.key import digest, digest_of_parts

_PART = 512
# The entries of an image that later stages depend on. The paths of its files are not among them.
_CONTENT = ("id", "splits", "height", "width", "digest", "mask_digest")


class IndexStage(Stage):
    """Decodes every photograph once. A bad photograph is recorded with its reason and costs nothing else.

    Its key holds the listing of the data set (names, sizes, times), which takes little time. The keys of the
    stages after it hold the content (ids, digests, splits). So a data set that was copied or touched is read
    again, and its features stay.
    """

    name = "index"
    version = 6
    always_in_key = frozenset({"dataset"})

    def inputs(self, settings: Settings) -> tuple[str, ...]:
        return ()

    def settings(self, settings: Settings) -> dict[str, Any]:
        return {"dataset": settings.dataset.name}

    def layout(self, job: Job) -> Layout:
        return Layout(rows=sum(1 for _ in _items(open_dataset(job.settings.dataset))), shard_rows=_PART)

    def prepare(self, job: Job) -> None:
        checkpoint = job.checkpoint(self.name)
        for part, items in enumerate(batched(_items(open_dataset(job.settings.dataset)), _PART)):
            listing = json.dumps([asdict(item) for item in items])
            checkpoint.write_file(_listing_name(part), listing.encode())

    def compute_shard(self, job: Job, manifest: Manifest, shard: int) -> ShardResult:
        dataset = open_dataset(job.settings.dataset)
        listing = json.loads(job.checkpoint(self.name).read_file(_listing_name(shard)))
        items = [Item(item["id"], item["image"], item["mask"], tuple(item["splits"])) for item in listing]
        images: list[dict[str, Any]] = []
        refused: list[dict[str, str]] = []
        labels: set[int] = set()
        for entry, problems, found in in_threads(partial(_examine, dataset), items):
            images.extend([entry] if entry else [])
            refused.extend(problems)
            labels |= found
            progress.advance(self.name, 1)
        return ShardResult({}, {"images": images, "refused": refused, "labels": sorted(labels)})

    def complete(self, job: Job, manifest: Manifest, warn: Warn) -> dict[str, Any]:
        dataset = open_dataset(job.settings.dataset)
        checkpoint = job.checkpoint(self.name)
        usable, refused, labelled, content = 0, 0, 0, []
        left_out: dict[int, int] = {}
        labels: set[int] = set()
        for record in checkpoint.records(manifest):
            images = record.info["images"]
            usable += len(images)
            start, stop = manifest.shard_range(record.shard)
            if len(images) < stop - start:
                left_out[record.shard] = stop - start - len(images)
            refused += len(record.info["refused"])
            labels.update(record.info["labels"])
            labelled += sum(image["mask_digest"] is not None for image in images)
            content.append(content_key({"images": [[image[name] for name in _CONTENT] for image in images]}))
            for problem in record.info["refused"]:
                warn(f"{problem['file']} was refused: {problem['reason']}")
        if not usable:
            raise EmptyDatasetError(
                f"none of the {manifest.rows} photographs in {dataset.root} can be used; the warnings above "
                f"have the reasons"
            )
        with name_parameters("setting dataset.{}"):
            dataset.check_labels(labels)
        for part in range(manifest.num_shards):  # the records contain everything that is read later
            checkpoint.delete_file(_listing_name(part))
        unlabelled = usable - labelled
        if unlabelled and (dataset.class_names or dataset.has_segmentations):
            warn(
                f"{unlabelled} of {usable} photographs have no usable ground truth; metrics that need it "
                f"leave them out"
            )
        return IndexSummary(
            images=usable,
            labelled=labelled,
            refused=refused,
            skipped=skipped_files(job.settings),
            class_names=dataset.class_names,
            ignore_label=dataset.ignore_label,
            palette=dataset.palette_name,
            train_split=dataset.train_split,
            evaluate_split=dataset.evaluate_split,
            left_out_of_part=left_out,
            content=content_key(
                {
                    "parts": content,
                    "classes": dataset.class_names,
                    "splits": [dataset.train_split, dataset.evaluate_split],
                }
            ),
        ).to_json()

    def closing(self, job: Job, manifest: Manifest) -> str:
        # Counted again, because these files are no part of the key: some may be newer than the index.
        now = {"skipped": skipped_files(job.settings)}
        return IndexSummary.of(manifest).model_copy(update=now).describe()

    def identity(self, manifest: Manifest) -> str:
        return IndexSummary.of(manifest).content


def _examine(dataset: Dataset, item: Item) -> tuple[dict[str, Any] | None, list[dict[str, str]], set[int]]:
    """Read one photograph and its ground truth.

    Returns:
        Its entry of the index, or None if it cannot be used; what is wrong with the photograph or the ground
        truth; and the labels of its mask.

    """
    try:
        content = read_file(dataset.root / item.image)
        height, width, _ = dataset.decode_photograph(content).shape
    except OSError as error:
        if not is_lasting(error):  # the runner retries the task of this shard
            raise
        return None, [{"file": item.image, "reason": error.strerror or str(error)}], set()
    except InvalidPhotographError as error:
        return None, [{"file": item.image, "reason": str(error)}], set()
    problems = []
    mask_digest = None
    labels: set[int] = set()
    try:
        mask = dataset.read_mask(item, height, width)
        drawn = [mask] if mask is not None else dataset.read_segmentations(item, height, width)
        mask_digest = digest_truth(drawn) if drawn else None
        labels = labels_of(mask) if mask is not None else set()
    except InvalidMaskError as error:
        reason = f"mask: {error}; its photograph counts as one without ground truth"
        problems.append({"file": item.mask or item.id, "reason": reason})
    entry = {
        **asdict(item),
        "mask": item.mask if mask_digest else None,
        "height": height,
        "width": width,
        "digest": digest(content),
        "mask_digest": mask_digest,
    }
    return entry, problems, labels


def listing_digest(settings: AnyDataset) -> str:
    """Digest the names, sizes and times of all files of a data set, without reading the files."""
    return digest_of_parts(line.encode() for line in _listing_lines(open_dataset(settings)))


def _listing_lines(dataset: Dataset) -> Iterator[str]:
    yield "\0".join([*dataset.class_names, str(dataset.ignore_label), dataset.train_split])
    if dataset.mask_values is not None:
        yield f"\n{sorted(dataset.mask_values.meaning.items())}"
    for item in _items(dataset):
        stats = [_stat(dataset.root / file) for file in (item.image, dataset.truth_file(item)) if file]
        yield "\n" + json.dumps([asdict(item), stats])


def _items(dataset: Dataset) -> Iterator[Item]:
    with name_parameters("setting dataset.{}"):
        yield from dataset.items()


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError as error:
        if not is_lasting(error):
            raise
        return None
    return status.st_size, status.st_mtime_ns


def _listing_name(part: int) -> str:
    return f"listing-{part:06d}.json"
