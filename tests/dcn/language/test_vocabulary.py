"""Vocabularies: those of the package, and lists of users with all their mistakes."""

from pathlib import Path

import pytest

from dcn.datasets.voc2012 import CLASS_NAMES
from dcn.errors import InvalidClassNamesError
from dcn.language.prompts import class_names_of
from dcn.language.vocabulary import VOCABULARIES, read_vocabulary


@pytest.mark.parametrize(("name", "count"), [("voc", 20), ("coco", 80), ("ade20k", 150), ("lvis", 1203)])
def test_the_lists_of_the_package_have_their_published_lengths(name: str, count: int) -> None:
    vocabulary = read_vocabulary(name)
    assert len(set(vocabulary.names)) == count
    assert not vocabulary.repeated
    assert all(part == part.strip() and "_" not in part for names in vocabulary.things for part in names)


def test_voc_has_the_classes_and_the_synonyms_of_the_data_set() -> None:
    vocabulary = read_vocabulary("voc")
    assert vocabulary.names == CLASS_NAMES[1:]
    for names in vocabulary.things:
        assert set(names) == {*class_names_of(names[0])}


def test_lists_name_well_known_things() -> None:
    assert {"person", "traffic light", "toothbrush"} < set(read_vocabulary("coco").names)
    assert {"wall", "sky", "flag"} < set(read_vocabulary("ade20k").names)
    assert {"aerosol can", "zucchini"} < set(read_vocabulary("lvis").names)
    assert set(VOCABULARIES) == {"voc", "coco", "ade20k", "lvis"}


def test_a_list_of_the_user(tmp_path: Path) -> None:
    """With a mark, line ends of Windows, comments, empty lines, and names that come again."""
    path = tmp_path / "mine.txt"
    path.write_bytes(
        "\ufeff# mine\r\n\r\n tv  monitor , television\r\nChat\r\nchat, kitten\r\nno\r\n".encode()
    )
    vocabulary = read_vocabulary(str(path))
    assert vocabulary.things == (("tv monitor", "television"), ("Chat",), ("no",))
    assert vocabulary.repeated == ("chat",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no name, so every cluster"),
        (b"# cat\n\n", "has no name"),
        (b"cat\nCat\n cat ,tom\n", "has only the name 'cat'"),
        (b"cat, tom\n", "has only the name 'cat'"),
        (b"cat\nd\x1bog\n", "line 2 has characters that cannot be printed"),
        (b"caf\xe9\ndog\n", "is no text: line 1 is not UTF-8"),
        (b"cat\n" * (1 << 17), "has 524,288 bytes"),
    ],
)
def test_unusable_lists_are_refused_with_advice(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidClassNamesError, match=message) as caught:
        read_vocabulary(str(path))
    assert caught.value.parameter == "vocabulary"


def test_a_name_that_is_no_list_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidClassNamesError, match="cannot be read: .*give one of voc, coco, ade20k, lvis"):
        read_vocabulary("imagenet")
    with pytest.raises(InvalidClassNamesError, match="it is a folder, not a file"):
        read_vocabulary(str(tmp_path))
