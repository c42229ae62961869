"""What the stages read from outside the workspace: data set, photographs, backbone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from dcn.datasets import BSDS500Dataset, Dataset, FolderDataset, SampleDataset, VOC2012Dataset
from dcn.errors import InvalidMaskError, InvalidOptionError, InvalidPhotographError
from dcn.files import is_lasting, read_file
from dcn.photograph import decode_photograph, squash
from dcn.presets import Precision
from flows.image_index import IndexedImage, digest_truth
from flows.settings import BSDS500Settings, DatasetSettings, FolderSettings, SampleSettings, Settings
from storage.key import digest
from storage.threads import THREADS

if TYPE_CHECKING:
    from dcn.backbone import Backbone
    from dcn.language import LanguageModel

T = TypeVar("T")
R = TypeVar("R")
# Results that wait for their consumer: photographs for several batches, and bounded memory.
_AHEAD = 64
# A cache alone would let every thread that comes before the first one is done load a model of its own.
_loading = Lock()


def open_dataset(settings: DatasetSettings) -> Dataset:
    """The data set that the settings name."""
    if isinstance(settings, SampleSettings):
        return SampleDataset()
    if isinstance(settings, FolderSettings):
        return FolderDataset(settings.root, settings.masks, settings.classes)
    if isinstance(settings, BSDS500Settings):
        return BSDS500Dataset(settings.root, settings.train_split, settings.evaluate_split)
    return VOC2012Dataset(settings.root, settings.train_split, settings.evaluate_split, settings.download)


def read_photograph(dataset: Dataset, image: IndexedImage) -> npt.NDArray[np.uint8]:
    """Decode an indexed photograph to ``[H, W, 3]``.

    Raises:
        InvalidPhotographError: it is gone, or is not the file that was indexed.
        OSError: it cannot be read just now; what has read it should be tried again.

    """
    try:
        content = read_file(dataset.root / image.item.image)
    except OSError as error:
        if not is_lasting(error):
            raise
        raise InvalidPhotographError(f"it cannot be read any more: {error.strerror}") from error
    if digest(content) != image.digest:
        raise InvalidPhotographError("it was changed after it was indexed; run the pipeline again")
    return decode_photograph(content)


def read_mask(dataset: Dataset, image: IndexedImage) -> npt.NDArray[np.uint8] | None:
    """Ground truth ``[H, W]`` of an indexed photograph, None where there is none.

    Raises:
        InvalidMaskError: it is gone, or not what was indexed.

    """
    mask = dataset.read_mask(image.item, image.height, image.width) if image.labelled else None
    if mask is not None:
        _check_truth(image, [mask])
    return mask


def read_segmentations(dataset: Dataset, image: IndexedImage) -> list[npt.NDArray[np.uint16]]:
    """Regions ``[H, W]`` that annotators drew of an indexed photograph.

    Raises:
        InvalidMaskError: they are gone, or not what was indexed.

    """
    segmentations = dataset.read_segmentations(image.item, image.height, image.width)
    _check_truth(image, segmentations)
    return segmentations


def _check_truth(image: IndexedImage, drawn: Sequence[npt.NDArray[Any]]) -> None:
    if digest_truth(drawn) != image.truth_digest:
        raise InvalidMaskError("it was changed after it was indexed; run the pipeline again")


def read_squashed(
    dataset: Dataset, size: int, image: IndexedImage
) -> tuple[IndexedImage, npt.NDArray[np.uint8] | None, str]:
    """A photograph as a square ``[size, size, 3]`` (section 4.1.2), or None and why it cannot be read."""
    try:
        return image, squash(read_photograph(dataset, image), size), ""
    except InvalidPhotographError as error:
        return image, None, str(error)


def choose_device(name: str) -> str:
    """A device of PyTorch; ``auto`` takes CUDA where there is one.

    Raises:
        InvalidOptionError: this machine has no such device.

    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise InvalidOptionError(f"device {name!r} cannot be used here: {reason}") from error
    return name


def load_backbone(settings: Settings) -> Backbone:
    """The backbone of a run, loaded once per process, whichever of its threads asks first."""
    backbone = settings.backbone
    device = choose_device(backbone.device)
    with _loading:
        return _load_backbone(backbone.name, backbone.weights, device, backbone.precision)


@lru_cache(maxsize=1)
def _load_backbone(name: str, weights: Path | None, device: str, precision: Precision) -> Backbone:
    from dcn.backbone import Backbone

    return Backbone.from_preset(name, weights, device, precision)[0]


def load_language_model(settings: Settings) -> LanguageModel:
    """The language model of a run, loaded once per process, whichever of its threads asks first."""
    language = settings.language
    assert language.model is not None
    device = choose_device(settings.backbone.device)
    with _loading:
        return _load_language_model(language.model, language.weights, device)


@lru_cache(maxsize=1)
def _load_language_model(name: str, weights: Path | None, device: str) -> LanguageModel:
    from dcn.language import LanguageModel

    return LanguageModel.from_name(name, weights, device)


def weights_digest(path: Path | None, section: str) -> str | None:
    """Digest of the file that ``<section>.weights`` names; None where it names none.

    Raises:
        WeightsUnavailableError: there is no such file.

    """
    if path is None:
        return None
    from dcn.weights import check_weights_file

    check_weights_file(path, section)
    return digest(path.read_bytes())


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Apply a function ahead of its consumer, in order. For work that leaves the interpreter lock.

    At most :data:`_AHEAD` results wait, however many items there are. A process that may use one core, as a
    Dask worker does, works in the thread that asks.
    """
    if THREADS == 1:
        yield from map(function, items)
        return
    from dcn.cpu_threads import compute_alone

    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(min(8, THREADS), initializer=compute_alone) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) == _AHEAD:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:  # where the consumer stops early
                future.cancel()


def batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Tuples of ``size`` items, the last one shorter. ``itertools`` has it from Python 3.12 on."""
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch
