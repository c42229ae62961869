"""ADE20K with the 150 classes of its benchmark for scene parsing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from dcn.datasets.benchmark import BenchmarkDataset, BenchmarkOptions, numbered, read_lines
from dcn.errors import InvalidDatasetError

_FOLDER = "ADEChallengeData2016"
_CLASSES = 150
_UNPACK = "unpack ADEChallengeData2016.zip of sceneparsing.csail.mit.edu in the root"
# Number, share of pixels, photographs of both splits, in newer files whether it is stuff, and synonyms.
_LINE = re.compile(r"(?P<index>\d+)\s+[\d.]+\s+\d+\s+\d+\s+(?:[01]\s+)?(?P<synonyms>\D.*)")

Split = Literal["training", "validation"]


class ADE20KOptions(BenchmarkOptions):
    """ADE20K, as its benchmark for scene parsing distributes it."""

    name: Literal["ade20k"] = "ade20k"
    root: Path = Field(description="Folder that holds ``ADEChallengeData2016``.")
    train_split: Split = Field("training", description="Split to train on.")
    evaluate_split: Split = Field("validation", description="Split to evaluate on.")

    def open(self) -> ADE20KDataset:
        return ADE20KDataset(self.root, self.train_split, self.evaluate_split)


class ADE20KDataset(BenchmarkDataset):
    """ADE20K: 20,210 photographs of ``training`` and 2,000 of ``validation``. An id is ``split/name``.

    The names of the classes are those of ``objectInfo150.txt``, of each the first synonym. A mask has 1 to
    150 for them, and 0 for other things.
    """

    def __init__(self, root: Path, train_split: str = "training", evaluate_split: str = "validation") -> None:
        super().__init__(root, train_split, evaluate_split)
        self.class_names, self.mask_values = numbered(
            {name: [index] for index, name in enumerate(self._read_names(), 1)}
        )

    def names(self, split: str) -> Iterable[str]:
        self.require(f"{_FOLDER}/annotations/{split}", _UNPACK)
        return (f"{split}/{name}" for name in self.find(f"{_FOLDER}/images/{split}", "*.jpg", _UNPACK))

    def files(self, name: str) -> tuple[str, str | None]:
        return f"{_FOLDER}/images/{name}.jpg", f"{_FOLDER}/annotations/{name}.png"

    def _read_names(self) -> list[str]:
        path = self.require(f"{_FOLDER}/objectInfo150.txt", _UNPACK)
        lines = [found for line in read_lines(path) if (found := _LINE.fullmatch(line))]
        if [int(line["index"]) for line in lines] != list(range(1, _CLASSES + 1)):
            raise InvalidDatasetError(
                f"{path} does not list the classes 1 to {_CLASSES}; copy it from ADEChallengeData2016.zip",
                parameter="root",
            )
        first = [re.split("[,;]", line["synonyms"])[0].strip() for line in lines]
        count = Counter(first)
        return [
            name if count[name] == 1 else line["synonyms"] for name, line in zip(first, lines, strict=True)
        ]
