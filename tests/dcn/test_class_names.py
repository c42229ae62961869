"""Names of clusters: files that a person or the page wrote, and the classes that follow."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dcn.class_names import NamedClasses, cluster_names, name_classes, read_names
from dcn.errors import InvalidClassNamesError
from dcn.images.palette import class_palette


def read(folder: Path, text: str | bytes) -> dict[int, str]:
    path = folder / "names.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_names(path)


def test_clusters_with_one_name_are_one_class_and_background_is_class_0() -> None:
    classes = name_classes(cluster_names(5), {1: "cat", 2: "Background", 4: "cat", 5: "tree"})
    assert classes.names == ("background", "cat", "cluster 3", "tree")
    assert classes.class_of_cluster == (0, 1, 0, 2, 1, 3)
    clusters = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8)
    np.testing.assert_array_equal(classes.of_clusters(clusters), [[0, 1, 0], [2, 1, 3]])


def test_a_class_has_the_color_of_its_first_cluster() -> None:
    classes = name_classes(cluster_names(4), {2: "cat", 4: "cat", 1: "background"})
    palette = class_palette()
    np.testing.assert_array_equal(classes.colors(palette), palette[[0, 2, 3]])
    joined = classes.cluster_palette(palette)
    np.testing.assert_array_equal(joined[:5], palette[[0, 0, 2, 3, 2]])
    np.testing.assert_array_equal(joined[5:], palette[5:])
    assert classes.listing(palette)[1] == {"index": 1, "name": "cat", "color": "#008000"}  # VOC's green


@given(st.dictionaries(st.integers(1, 9), st.sampled_from(["cat", "tree", "background", "cluster 4"])))
def test_naming_keeps_every_cluster_and_only_joins(names: dict[int, str]) -> None:
    classes = name_classes(cluster_names(9), names)
    assert NamedClasses.model_validate_json(classes.model_dump_json()) == classes
    for cluster, number in enumerate(classes.class_of_cluster):
        expected = names.get(cluster, cluster_names(9)[cluster])
        assert classes.names[number] == expected
    np.testing.assert_array_equal(classes.colors(class_palette())[0], [0, 0, 0])


def test_a_name_may_be_that_of_another_class() -> None:
    classes = name_classes(("ground", "cat", "dog", "car"), {3: "cat", 2: "ground"})
    assert classes.names == ("ground", "cat")
    assert classes.class_of_cluster == (0, 1, 0, 1)


def test_a_file_names_clusters_with_text_as_it_is_written(tmp_path: Path) -> None:
    text = '# a comment\n1: cat\n"2": no\n3: 2024\n4: "  tree # 1 "\n5: ~x\n'
    assert read(tmp_path, text) == {1: "cat", 2: "no", 3: "2024", 4: "tree # 1", 5: "~x"}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_a_file_may_name_nothing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {}


def test_json_and_the_encodings_of_windows_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, '{"1": "chat", "2": "f\\u00eate"}') == {1: "chat", 2: "fête"}
    assert read(tmp_path, "1: fête\r\n".encode("utf-16")) == {1: "fête"}
    assert read(tmp_path, b"\xef\xbb\xbf1: cat\n") == {1: "cat"}


def test_two_spellings_of_one_character_are_one_name(tmp_path: Path) -> None:
    assert len(set(read(tmp_path, "1: f\u00eate\n2: fe\u0302te\n").values())) == 1


@given(
    st.dictionaries(
        st.integers(0, 255),
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20),
        max_size=9,
    )
)
@settings(max_examples=25)
def test_what_another_program_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, names: dict[int, str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    normal = {cluster: unicodedata.normalize("NFC", name) for cluster, name in names.items()}
    assert read(folder, yaml.safe_dump(names, allow_unicode=True)) == normal
    assert read(folder, json.dumps(names)) == normal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: cat\n2: dog\n1: tree\n", "line 3: cluster 1 has the name 'cat' already"),
        ("1: cat\n01: tree\n", "line 2: cluster 1 has the name 'cat' already"),
        ("cat: 1\n", "line 1: 'cat' is no number of a cluster"),
        ("-1: cat\n", "line 1: '-1' is no number"),
        ("1.5: cat\n", "line 1: '1.5' is no number"),
        ("99999999999999999999: cat\n", "is no number of a cluster"),
        ("? [1, 2]\n: cat\n", "line 1: '' is no number"),
        ("1:\n", "line 1: the name is not text"),
        ("1: null\n", "line 1: the name is not text"),
        ("1: [cat, dog]\n", "line 1: the name is not text"),
        ("1: {name: cat}\n", "line 1: the name is not text"),
        ('1: "  "\n', "line 1: the name is not text"),
        ('1: "a\\nb"\n', r"line 1: the name 'a\\nb' has characters that cannot be printed"),
        ('1: "a\\x1b[31m"\n', "has characters that cannot be printed"),
        ("- cat\n- dog\n", "does not name clusters; write lines such as '3: cat'"),
        ("cat", "does not name clusters"),
        ("1: cat\n  2: dog\n", "is not readable YAML: line 2: a second ': ' in the line"),
        (
            "1: !!python/object:os.system x\n---\n2: y\n",
            "is not readable YAML: line 2: a second document begins here",
        ),
        (b"1: \xff\xfe\xfa\n", "is not readable YAML: line 1 is not UTF-8"),
        ("[" * 500, "is not readable YAML: its values are nested deeper than 20 levels"),
        (b"#" * (1 << 21), "it has 2,097,152 characters, more than a person writes"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InvalidClassNamesError, match=message) as raised:
        read(tmp_path, text)
    assert str(tmp_path / "names.yaml") in str(raised.value)
    assert raised.value.parameter == "names"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidClassNamesError, match=r"names.yaml cannot be read: No such file"):
        read_names(tmp_path / "names.yaml")


def test_an_unknown_cluster_is_an_error() -> None:
    with pytest.raises(InvalidClassNamesError, match="there is no cluster 6, 20: the clusters are 1 to 5"):
        name_classes(cluster_names(5), {1: "cat", 20: "tree", 6: "dog"})


def test_the_background_keeps_its_name() -> None:
    assert name_classes(cluster_names(1), {0: "background"}) == name_classes(cluster_names(1), {})
    with pytest.raises(InvalidClassNamesError, match="cluster 0 is the background and cannot be named 'sky'"):
        name_classes(cluster_names(5), {0: "sky"})


@pytest.mark.parametrize(
    "value",
    [
        {"names": ["background", "cat"], "class_of_cluster": [0, 2]},
        {"names": ["background", "cat"], "class_of_cluster": [0, 0]},
        {"names": ["background", "cat"], "class_of_cluster": [1, 0]},
        {"names": ["background"], "class_of_cluster": []},
        {"names": ["background"], "class_of_cluster": [0] * 257},
    ],
)
def test_classes_from_a_file_are_checked(value: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NamedClasses.model_validate(value)
