"""Segmentation of photographs outside of a data set, with a trained model or the network as it starts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.class_names import read_names
from dcn.errors import InvalidPhotographError
from dcn.images.files import read_file
from dcn.images.palette import palette_png, region_palette
from dcn.images.photograph import decode_photograph
from dcn.model import BATCH, Model
from dcn.segmentation import Region, Segmentation
from dcn.untrained import untrained_model
from flows import progress
from flows.cli.export.labels import CLASSES_FILE
from flows.cli.export.region_table import COLUMNS, TABLE_FILE, file_cell, text_cell
from flows.cli.options import err, out, safe
from flows.cli.output_files import output_path
from flows.cli.terminal import TerminalProgress
from flows.errors import FlowError, name_parameters
from flows.inputs.given_files import GivenFile, find_photographs
from flows.inputs.image_index import evenly_spread
from flows.inputs.parallel import batched, in_threads
from flows.library import load
from storage.stores.files import open_atomically, write_atomically

# The backbone of the network as it starts. It comes as a package.
BACKBONE = "focus-s14"
# Photographs that determine the prototypes of the network as it starts.
_SAMPLED = 16
# Photographs that wait between two steps, at their original size: a dozen megapixels take 36 MB.
_WAITING = 8
_LONGEST_JPEG_SIDE = 65_500
# As in the table of `dcn export`, and what a model says about a region of a new photograph.
_COLUMNS = (*COLUMNS, "score", "confidence")


def print_predictions(
    named: Sequence[str],
    source: str | None,
    output: Path,
    weights: Path | None,
    device: str,
    workspace: str | None,
    overrides: Sequence[str],
    names: Path | None,
) -> int:
    """Run the command ``predict``: show the progress, name each refused photograph, and say what was written.

    Args:
        named: files, folders and patterns.
        source: what names the model, see :func:`flows.library.load`; None for the network as it starts.
        output: folder of the results.
        weights: local file of the backbone's weights.
        device: device of PyTorch.
        workspace: workspace of the model's configuration or key.
        overrides: changes of its configuration.
        names: file ``names.yaml`` with names of the classes; None keeps those of the model.

    Returns:
        Number of refused photographs.

    """
    given = find_photographs(named)
    given.check_output(output)
    files, refused = given.files, 0
    with name_parameters("option --{}"), TerminalProgress(err) as watcher, progress.watched(watcher):
        if source is None:
            err.print(f"without --model: the network as it starts, untrained, on {BACKBONE}")
            model = untrained(files, device)
        else:
            model = load(source, workspace=workspace, overrides=overrides, weights=weights, device=device)
        if names is not None:
            model = Model(model.stored.renamed(read_names(names)), weights, device)
        progress.start("predict", len(files))
        for prediction in predict(files, model, output):
            progress.advance("predict", 1)
            if prediction.reason:
                refused += 1
                shown = f"{safe(prediction.image)}: {safe(prediction.reason)}"
                err.print(f"[red]refused[/] {shown}", soft_wrap=True)
        progress.end("predict")
    written = "regions/, overlays/" if model.class_centers is None else "regions/, semantic/, overlays/"
    used = len(files) - refused
    counts = f"{used:,} photograph{'s' * (used != 1)}, {refused:,} refused"
    if given.skipped:
        number = sum(given.skipped.values())
        kinds = ", ".join(f"{count} {ending}" for ending, count in given.skipped.items())
        counts += f", {number:,} other file{'s' * (number > 1)} skipped ({kinds})"
    out.print(f"{safe(counts)}: {written} and regions.csv in {safe(output)}", soft_wrap=True)
    return refused


@dataclass(frozen=True)
class Prediction:
    """The result for one photograph: its files, or the reason why there are none.

    Attributes:
        image: file of the photograph.
        regions: file of its regions, a palette PNG; None if the photograph was refused.
        rows: its rows of ``regions.csv``.
        reason: why the photograph was refused; else empty.

    """

    image: Path
    regions: Path | None = None
    rows: tuple[tuple[Any, ...], ...] = ()
    reason: str = ""


def untrained(files: Sequence[GivenFile], device: str) -> Model:
    """Make the model of the network as it starts, with prototypes from some of the photographs.

    Raises:
        FlowError: none of them can be read.
        WeightsUnavailableError: the package of the backbone is not installed.

    """
    chosen = evenly_spread(np.arange(len(files)), _SAMPLED).tolist()
    read = in_threads(_read, [files[index] for index in chosen], waiting=_WAITING)
    photographs = [photograph for _, photograph, _ in read if photograph is not None]
    if not photographs:
        raise FlowError("none of the photographs can be read; name files or folders of photographs")
    return untrained_model(BACKBONE, photographs, device)


def predict(files: Sequence[GivenFile], model: Model, output: Path) -> Iterator[Prediction]:
    """Segment photographs. Threads decode and write them while the backbone computes.

    Writes ``regions/`` and ``semantic/`` (palette PNGs of regions, and of classes if the model knows any),
    ``overlays/`` (JPEG), ``classes.json``, and at the end ``regions.csv``.

    Args:
        files: the photographs.
        model: the model.
        output: folder of the results, created if it is missing.

    Yields:
        The result for each photograph, in order.

    Raises:
        FlowError: a photograph has a name that the file of a result cannot have.
        WeightsUnavailableError: the weights of the backbone cannot be read.

    """
    names = result_names([file.name for file in files])
    paths = [_ResultPaths.of(output, name) for name in names]
    rows: list[tuple[Any, ...]] = []
    read = in_threads(_read, files, waiting=_WAITING)
    described = in_threads(partial(_describe, model), _assigned(model, read), waiting=_WAITING)
    work = zip(_classified(model, described), paths, strict=True)
    try:
        for prediction in in_threads(partial(_write, model), work, waiting=_WAITING):
            rows.extend(prediction.rows)
            yield prediction
    finally:  # what is written has its rows, also after an interruption
        if rows:
            _write_tables(model, output, rows)


# A photograph on its way: its file, and its pixels or the reason why there are none.
_Read = tuple[GivenFile, npt.NDArray[np.uint8] | None, str]
_Values = npt.NDArray[np.float16]
# With assignment, attention and clusters of its patches (dcn.model.Assigned), or without.
_Assigned = tuple[_Read, tuple[_Values, _Values, _Values] | None]
_Described = tuple[GivenFile, Segmentation | None, str]


def _read(file: GivenFile) -> _Read:
    try:
        return file, decode_photograph(read_file(file.path)), ""
    except OSError as error:
        return file, None, error.strerror or str(error)
    except InvalidPhotographError as error:
        return file, None, str(error)


def _assigned(model: Model, photographs: Iterator[_Read]) -> Iterator[_Assigned]:
    """Compute the assignments of batches of photographs."""
    for few in batched(photographs, BATCH):
        squashed = [model.squash(photograph) for _, photograph, _ in few if photograph is not None]
        computed = zip(*model.assign(np.stack(squashed)), strict=True) if squashed else iter(())
        for read in few:
            yield read, None if read[1] is None else next(computed)


def _describe(model: Model, assigned: _Assigned) -> _Described:
    (file, photograph, reason), computed = assigned
    if photograph is None or computed is None:
        return file, None, reason
    return file, model.describe(photograph, *computed), ""


def _classified(model: Model, described: Iterator[_Described]) -> Iterator[_Described]:
    """Compute the embeddings of batches of photographs, if the classes of the model need them."""
    if model.class_centers is None or model.has_head:
        yield from described
        return
    for few in batched(described, BATCH):
        model.embed([result for _, result, _ in few if result is not None])
        yield from few


@dataclass(frozen=True)
class _ResultPaths:
    """Files of the results of one photograph."""

    regions: Path
    semantic: Path
    overlay: Path

    @classmethod
    def of(cls, output: Path, name: str) -> _ResultPaths:
        return cls(
            output_path(output / "regions", name, ".png"),
            output_path(output / "semantic", name, ".png"),
            output_path(output / "overlays", name, ".jpg"),
        )


def _write(model: Model, work: tuple[_Described, _ResultPaths]) -> Prediction:
    (file, result, reason), paths = work
    if result is None:
        return Prediction(file.path, reason=reason)
    semantic, centers = result.semantic, model.class_centers
    try:
        write_atomically(paths.regions, palette_png(result.labels, region_palette()))
        if semantic is not None and centers is not None:
            write_atomically(paths.semantic, palette_png(semantic, centers.palette()))
        drawn = result.overlay("regions" if semantic is None else "semantic")
        write_atomically(paths.overlay, _jpeg(drawn))
    except OSError as error:
        return Prediction(file.path, reason=f"its result cannot be written: {error.strerror}")
    return Prediction(file.path, paths.regions, tuple(_row(file, region) for region in result.regions))


def _row(file: GivenFile, region: Region) -> tuple[Any, ...]:
    """Describe a region, a row of the table."""
    top, left, bottom, right = region.box
    return (
        file_cell(str(file.path)),
        region.label,
        "" if region.class_name is None else text_cell(region.class_name),
        int(region.foreground),
        region.area,
        left,
        top,
        right - left,
        bottom - top,
        "" if region.distance is None else round(region.distance, 6),
        round(region.score, 6),
        "" if region.confidence is None else round(region.confidence, 6),
    )


def _write_tables(model: Model, output: Path, rows: list[tuple[Any, ...]]) -> None:
    with open_atomically(output / TABLE_FILE) as file:
        table = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows(rows)
    if model.class_centers is not None:
        described = model.class_centers.description
        listing = json.dumps(described.named.listing(described.colors()), indent=1)
        write_atomically(output / CLASSES_FILE, f"{listing}\n".encode())


def _jpeg(image: Image.Image) -> bytes:
    """Encode a picture as JPEG. It is made smaller if it exceeds the sides of JPEG."""
    image.thumbnail((_LONGEST_JPEG_SIDE, _LONGEST_JPEG_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


def result_names(names: Sequence[str]) -> list[str]:
    """Choose the names of the results: those of the photographs, with a number if several share one.

    Names that differ only in case count as shared, because some file systems ignore case.

    Args:
        names: name of each photograph, a relative path with ``/`` and without suffix.

    """
    chosen: list[str] = []
    taken: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.casefold())
        chosen.append(unique)
    return chosen
