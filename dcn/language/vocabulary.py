"""Vocabularies: the words from which a language-image model chooses the name of a cluster.

A vocabulary is a text file with one thing in each line. Synonyms follow the name, after commas::

    # a comment
    tv monitor, television
    sofa, couch
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from dcn.errors import InvalidClassNamesError
from dcn.images.files import read_file
from dcn.text_files import decode_text, is_printable

_FOLDER = Path(__file__).parent / "vocabularies"
# The list of LVIS has a twentieth of this.
_MOST_BYTES = 1 << 18

# Those that come with the package: object classes of PASCAL VOC 2012 and MS COCO, all classes of ADE20K and
# LVIS. The head of each file names its source and license.
VOCABULARIES: tuple[str, ...] = ("voc", "coco", "ade20k", "lvis")


@dataclass(frozen=True)
class Vocabulary:
    """The things that a cluster may be named after, at least two.

    Attributes:
        things: names of each thing; the first of them is written, the others are synonyms.
        repeated: names whose line was left out, because an earlier line has the name.

    """

    things: tuple[tuple[str, ...], ...]
    repeated: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each thing."""
        return tuple(names[0] for names in self.things)


def read_vocabulary(name: str) -> Vocabulary:
    """Read a vocabulary that comes with the package, or one of the user.

    Args:
        name: an entry of :data:`VOCABULARIES`, or the path of a text file. Upper and lower case are the same
            for the repetitions of a name.

    Raises:
        InvalidClassNamesError: there is no such file, it cannot be read, or it has fewer than two names.

    Example:
        >>> read_vocabulary("voc").things[0]
        ('aeroplane', 'airplane')

    """
    path = _FOLDER / f"{name}.txt" if name in VOCABULARIES else Path(name)
    things: dict[str, tuple[str, ...]] = {}
    repeated = []
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if line.lstrip().startswith("#"):
            continue
        names = tuple(" ".join(part.split()) for part in line.split(",") if part.strip())
        if not all(map(is_printable, names)):
            raise _wrong(f"{path}, line {number} has characters that cannot be printed; remove them")
        if names and names[0].casefold() in things:
            repeated.append(names[0])
        elif names:
            things[names[0].casefold()] = names
    if len(things) < 2:
        count = f"only the name {next(iter(things.values()))[0]!r}" if things else "no name"
        raise _wrong(
            f"the vocabulary {path} has {count}, so every cluster would have the same name; write at least "
            f"two lines, each with the name of a thing"
        )
    return Vocabulary(tuple(things.values()), tuple(repeated))


def _read(path: Path) -> str:
    try:
        content = read_file(path)
        if len(content) > _MOST_BYTES:
            raise _wrong(f"the vocabulary {path} has {len(content):,} bytes; give a list with fewer names")
        return unicodedata.normalize("NFC", decode_text(content))
    except OSError as error:
        raise _wrong(
            f"the vocabulary {path} cannot be read: {error.strerror}; give one of "
            f"{', '.join(VOCABULARIES)}, or a text file with one name in each line"
        ) from error
    except ValueError as error:
        raise _wrong(f"the vocabulary {path} is no text: {error}") from error


def _wrong(problem: str) -> InvalidClassNamesError:
    return InvalidClassNamesError(problem, parameter="vocabulary")
