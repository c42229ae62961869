"""The base class of benchmarks: photographs in splits, and masks whose labels a table gives classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dcn.class_names import BACKGROUND
from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.errors import InvalidDatasetError
from dcn.images.files import read_file
from dcn.images.mask_values import MaskValues
from dcn.text_files import decode_text


class BenchmarkOptions(DatasetOptions):
    """Base class of the options of benchmarks, whose masks always have classes."""

    @property
    def has_classes(self) -> bool:
        return True


class BenchmarkDataset(Dataset):
    """Base class of benchmarks whose classes cover the whole photograph.

    They have no background: no pixel of a mask has class 0, ``background``. It is the class of regions that
    get none of the others. Labels that are no class are ignored.

    Args:
        root: folder of the files, as the authors distribute them.
        train_split: split to train on.
        evaluate_split: split to evaluate on.

    Raises:
        InvalidDatasetError: there is no such folder.

    """

    def __init__(self, root: Path, train_split: str, evaluate_split: str) -> None:
        if not root.is_dir():
            raise InvalidDatasetError(f"there is no folder {root}", parameter="root")
        self.root = root.absolute()
        self.train_split = train_split
        self.evaluate_split = evaluate_split

    @abstractmethod
    def names(self, split: str) -> Iterable[str]:
        """List the names of the photographs of a split, in any order. A name is unique in the data set.

        Raises:
            InvalidDatasetError: a part of the layout is not there; the message says where it is got.

        """

    @abstractmethod
    def files(self, name: str) -> tuple[str, str | None]:
        """Return the files of a photograph and of its mask, relative to the root."""

    def items(self) -> Iterator[Item]:
        members: dict[str, list[str]] = {}
        for split in dict.fromkeys((self.train_split, self.evaluate_split)):
            for name in dict.fromkeys(self.names(split)):
                members.setdefault(name, []).append(split)
        for name, splits in sorted(members.items()):
            image, mask = self.files(name)
            yield Item(name, image, mask, tuple(splits))

    def require(self, part: str, source: str) -> Path:
        """Check that a file or a folder of the layout is there.

        Args:
            part: its path below the root.
            source: what to do if it is missing, as an instruction.

        Raises:
            InvalidDatasetError: it is missing.

        """
        path = self.root / part
        if not path.exists():
            raise InvalidDatasetError(f"there is no {path}; {source}", parameter="root")
        return path

    def find(self, folder: str, pattern: str, source: str) -> list[str]:
        """List the files of a folder, as paths below this folder without what follows the ``*`` of a pattern.

        Args:
            folder: path of the folder below the root.
            pattern: pattern with ``*`` for the name, such as ``*.jpg``; may begin with subfolders.
            source: what to do if there are no such files, as an instruction.

        Raises:
            InvalidDatasetError: there are none.

        """
        ending = pattern.rpartition("*")[2]
        found = [
            path.relative_to(self.root / folder).as_posix().removesuffix(ending)
            for path in (self.root / folder).glob(pattern)
        ]
        if not found:
            raise InvalidDatasetError(
                f"there are no files {pattern} in {self.root / folder}; {source}", parameter="root"
            )
        return found


def numbered(classes: Mapping[str, Iterable[int]]) -> tuple[tuple[str, ...], MaskValues]:
    """Number classes from 1, and give each value of a mask the number of its class.

    Args:
        classes: for each class the values that stand for it (:func:`dcn.images.mask_values.value_code`).

    Returns:
        Names of the classes after ``background``, which has the number 0 and no value; and the class of each
        value. Other values are ignored.

    Example:
        >>> names, values = numbered({"road": [7], "car": [26, 29]})
        >>> names, values.meaning
        (('background', 'road', 'car'), {7: 1, 26: 2, 29: 2})

    """
    meaning = {value: index for index, values in enumerate(classes.values(), 1) for value in values}
    return (BACKGROUND, *classes), MaskValues(meaning, others=Dataset.ignore_label)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that are not empty, without the space around them.

    Raises:
        InvalidDatasetError: the file cannot be read as text.

    """
    try:
        lines = decode_text(read_file(path)).splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidDatasetError(
            f"{path} cannot be read: {reason}; copy it again", parameter="root"
        ) from error
    return [line.strip() for line in lines if line.strip()]
