"""YAML 1.2, strictly: what a value means, what is refused, and the lines and words of the messages."""

import codecs
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from flows.errors import InvalidSettingsError
from flows.settings import Settings
from flows.settings.loading import config_names, load_settings
from flows.settings.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10), ("1:30", "1:30"), ("01:00:00", "01:00:00"), ("no", "no"), ("off", "off"), ("y", "y"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("2026-11-26", "2026-11-26"),
        ("1e-3", 1e-3), (".5", 0.5), ("+3", 3), ("-0", 0), ("0o17", 15), ("0x1f", 31), ("0b11", "0b11"), ("1_000", "1_000"),
        ("-.inf", float("-inf")), ("'010'", "010"), ('"true"', "true"), ("!!str 010", "010"), ("=", "="),
        ("a:b", "a:b"), ("http://x/y", "http://x/y"), ("C:\\x", "C:\\x"), ("[1, [no]]", [1, ["no"]]), ("|\n  a\n  b\n", "a\nb\n"),
    ],
)  # fmt: skip
def test_a_value_means_what_the_core_schema_says(text: str, value: Any) -> None:
    found = read_yaml(f"name: {text}").values
    assert found == {"name": value}
    assert type(found["name"]) is type(value)


def test_names_are_texts_as_they_are_written() -> None:
    found = read_yaml("{0: a, 010: b, no: c, null: d, 255 0 0: e, 1.50: f, '': g}").values
    assert found == {"0": "a", "010": "b", "no": "c", "null": "d", "255 0 0": "e", "1.50": "f", "": "g"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train:\n  seed: 1\n  seed: 2", "line 3: train.seed is there twice, first in line 2; remove one"),
        ("train: {seed: 1}\nrunner:\ntrain:", "line 3: train is there twice, first in line 1; remove one"),
        ("train:\n\tseed: 1", "line 2: a tab stands where YAML wants blanks; write blanks"),
        ("train:\n  seed: 1\n iterations: 2", "line 3: the indentation differs from that of the lines above"),
        ("train:\n  seed: 1\n    heads: 2", "line 3: a second ': ' in the line, or a wrong indentation"),
        ("train: seed: 1", "line 1: a second ': ' in the line, or a wrong indentation; quote such a text"),
        ("train\nrunner: {}", "line 2: a second ': ' in the line"),
        ("a: 1\ntrain", "line [23]: a name without ': ' after it"),
        ("train: {seed: 1", "line 1: a bracket is not closed, or a comma is missing"),
        ("compare: {segmenters: [a b", "a bracket is not closed, or a comma is missing"),
        ("workspace: 'a", "line 1: a quotation mark is not closed"),
        ("workspace: @home", "line 1: a text cannot begin with this character; put it in quotes"),
        ("workspace: *home", "line 1: a text cannot begin with .*; put it in quotes"),
        ("workspace: *", "line 1: a text cannot begin with .*; put it in quotes"),
        ("workspace: &", "line 1: a text cannot begin with &; put it in quotes"),
        ("a: &x {seed: 1}\ntrain:\n  <<: *x", "line 3: YAML 1.2 does not merge .*; write the settings out"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins here .*; write one document"),
        ("a:\n  [1, 2]: 3", "line 2: the name of a setting is a text, not a list"),
        ("a: !!binary aGk=", "line 1: the tag tag:yaml.org,2002:binary has no meaning here; remove it"),
        ("a: !!set {b}", "the tag tag:yaml.org,2002:set has no meaning here"),
        ("a: !x {b: 1}", "the tag !x has no meaning here"),
        ("a: b\x07", "line 1: a character that no text has; remove it"),
        ("a: " + "[" * 30 + "]" * 30, "values are nested deeper than 20 levels"),
        ("[" * 5000, "values are nested deeper than 20 levels"),
        ("a: " + "{a: " * 5000, "values are nested deeper than 20 levels"),
        ("a: &a [*a]", "values are nested deeper than 20 levels"),
        ("a: '" + "x" * 60_000 + "'", "it has 60,005 characters, more than a person writes"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(InvalidSettingsError, match=words) as caught:
        read_yaml(text)
    assert "\n" not in str(caught.value)


def test_aliases_repeat_values_but_not_without_end() -> None:
    assert read_yaml("a: &x {b: 1}\nc: *x").values == {"a": {"b": 1}, "c": {"b": 1}}
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
    )
    began = time.monotonic()
    with pytest.raises(InvalidSettingsError, match="more than 10,000 values; aliases"):
        read_yaml(laughs)
    assert time.monotonic() - began < 10


def test_a_repeated_section_is_not_shared(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("embed: &x {size: 32}\nlanguage: {}\nevaluate: {neighbors: &n [1]}\nreport: {}\n")
    changed = load_settings(path, ["embed.size=64"])
    assert changed.embed.size == 64


@given(st.recursive(
    st.none() | st.booleans() | st.integers(1 - 10**18, 10**18 - 1) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_what_ruamel_writes_is_read_back(value: Any) -> None:
    """An independent writer of YAML 1.2, which quotes what would be read as another type."""
    import io

    stream = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False  # within brackets it does not quote "?0", which is no text there
    writer.dump({"a": value}, stream)
    assert read_yaml(stream.getvalue()).values == {"a": value}


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    return path


TEXT = "# Überschrift\r\ntrain:\r\n  seed: 3\r\n"


@pytest.mark.parametrize(
    "content",
    [codecs.BOM_UTF8 + TEXT.encode(), TEXT.encode("utf-16"), TEXT.encode("utf-32"), TEXT.encode("utf-16-le"),
     codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be")],
)  # fmt: skip
def test_a_file_in_the_encoding_of_an_editor_is_read(tmp_path: Path, content: bytes) -> None:
    assert load_settings(write(tmp_path, content)).train.seed == 3


def test_a_file_that_is_no_text_is_refused_with_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, b"train: {seed: 1}\nworkspace: M\xf6we\n")
    with pytest.raises(
        InvalidSettingsError, match=r"line 2 is not UTF-8 \(byte 0xf6\); save the file as UTF-8"
    ):
        load_settings(path)


def test_an_empty_section_is_its_defaults(tmp_path: Path) -> None:
    text = "".join(
        f"{name}:\n"
        for name, field in Settings.model_fields.items()
        if name not in ("workspace", "shard_images")
    )
    assert load_settings(write(tmp_path, text.encode())) == Settings()
    assert (
        load_settings(write(tmp_path, b"segment:\n  segmenter:\n  refine: false\n")).segment.segmenter
        == Settings().segment.segmenter
    )
    assert load_settings(write(tmp_path, b"train:\n"), ["train.seed=3"]).train.seed == 3
    assert load_settings(write(tmp_path, b"train: {seed: 3}"), ["train="]) == Settings()
    assert load_settings(write(tmp_path, b"")) == load_settings(write(tmp_path, b"# nothing\n")) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workspace: w\ntrain:\n  iterations: many\n", "{}, line 3: train.iterations: write a whole number, not 'many'"),
        ("train:\n  seed:\n", "{}, line 2: train.seed: write a whole number; it is empty"),
        ("train: {seed: 1.5}", "{}, line 1: train.seed: write a whole number, not 1.5"),
        ("train: {learning_rate: .inf}\n", None),
        ("workspace: 2026", "{}, line 1: workspace: write a text; a number, true, false and null need quotes to be one, not 2026"),
        ("workspace:", "{}, line 1: workspace: write a text; a number, true, false and null need quotes to be one; it is empty"),
        ("dataset:\n  name: folder\n  root: 2012\n", "{}, line 3: dataset.root: write a path; a number, true, false and null need quotes to be one, not 2012"),
        ("dataset: {name: folder}", "{}, line 1: dataset.root: it has no value; write dataset: {{root: PATH}}, or --set dataset.root=PATH (Folder of the photographs; its subfolders are searched as well)"),
        ("dataset: {root: a}", "{}, line 1: dataset.name: it has no value; write one of sample, folder, voc2012, bsds500, coco_stuff27, cityscapes27, ade20k, camvid, potsdam3"),
        ("train: {seed: 4294967296}", "{}, line 1: train.seed: write a number below 4294967296, not 4294967296"),
        ("shard_images: 99999999999999999999", "{}, line 1: shard_images: write a smaller number, not 1e+20"),
        ("train: 3", "{}, line 1: train: write names with values, as in {{seed: 1}}, not 3"),
        ("train: []", "{}, line 1: train: write names with values, as in {{seed: 1}}, not []"),
        ("\n\nevaluate: {neighbors: 3}", "{}, line 3: evaluate.neighbors: write a list, as in [1, 2], not 3"),
        ("evaluate:\n  neighbors:\n    - 1\n    - no\n", "{}, line 2: evaluate.neighbors.1: write a whole number, not 'no'"),
        ("segment: {refine: never}", "{}, line 1: segment.refine: write true or false, not 'never'"),
        ("train: {norm: Pre}", "{}, line 1: train.norm: write 'pre' or 'post', not 'Pre'"),
        ("train: {held_out: 0.6}", "{}, line 1: train.held_out: write a number of at most 0.5, not 0.6"),
        ("a: 1\nb: 2", "{}, line 1: a: dcn {version} has no such setting\n{}, line 2: b: dcn {version} has no such setting"),
        ("workspace: 'M\\xf6'\nreport: {num_photographs: true}", None),
        ("workspace: \"M\\uDCF6we\"", "{}, line 1: workspace: M\udcf6we: its name is not Unicode (UTF-8); rename it, or make a link (ln -s) with another name"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line_and_in_words(
    tmp_path: Path, text: str, message: str | None
) -> None:
    from importlib.metadata import version

    path = write(tmp_path, text.encode())
    if message is None:
        load_settings(path)
        return
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings(path)
    assert str(caught.value) == message.format(path, path, version=version("dynamic-clustering-network"))


def test_no_message_has_the_words_of_pydantic(tmp_path: Path) -> None:
    """Every setting, with every kind of wrong value."""
    wrong = ("'x y'", "[1]", "{a: 1}", "-3.5", "true", "", ".nan", "99999999999999999999")
    for section, field in Settings.model_fields.items():
        names = type(field.default).model_fields if hasattr(field.default, "model_fields") else [None]
        for name in names:
            for value in wrong:
                text = f"{section}: {value}" if name is None else f"{section}:\n  {name}: {value}"
                try:
                    load_settings(write(tmp_path, text.encode()))
                except InvalidSettingsError as error:
                    for line in str(error).splitlines():
                        assert line.startswith(f"{tmp_path / 'c.yaml'}, line "), line
                        assert not any(
                            word in line for word in ("Input ", "Extra ", "Field ", "Value error", "valid ")
                        ), line


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.seed=010", None),
        ("workspace=no", None),
        ("workspace='#1'", None),
        ("train.seed= 3", None),
        (" train.seed =3", None),
        ("dataset={name: folder, root: a}", None),
        ("workspace=/data/set #1", "--set workspace=/data/set #1: in YAML a comment begins with #; put the value in quotes"),
        ("workspace=#1", "--set workspace=#1: in YAML a comment begins with #; put the value in quotes"),
        ("workspace=@x", "--set workspace=@x: the value is not YAML: line 1: a text cannot begin with this character; put it in quotes"),
        ("workspace=a: b: c", "--set workspace=a: b: c: the value is not YAML: line 1: a second ': ' in the line, or a wrong indentation; quote such a text"),
        ("train={seed: 1, seed: 2}", "--set train={seed: 1, seed: 2}: the value is not YAML: line 1: seed is there twice, first in line 1; remove one"),
        ("train..seed=3", "--set train..seed=3: write section.name=value"),
        ("train.=3", "--set train.=3: write section.name=value"),
        (".seed=3", "--set .seed=3: write section.name=value"),
        ("train.seed.x=3", "--set: train.seed: write a whole number, not {\"x\": 3}"),
        ("train.seed=", "--set: train.seed: write a whole number; it is empty"),
        ("dataset={name: folder}", "--set: dataset.root: it has no value; write dataset: {root: PATH}, or --set dataset.root=PATH (Folder of the photographs; its subfolders are searched as well)"),
    ],
)  # fmt: skip
def test_overrides_are_read_as_strictly(tmp_path: Path, override: str, message: str | None) -> None:
    path = write(tmp_path, b"dataset:\n  name: voc2012\n  root: x\n")
    if message is None:
        load_settings(path, [override])
        return
    with pytest.raises(InvalidSettingsError) as caught:
        load_settings(path, [override])
    assert str(caught.value) == message


def test_a_comment_in_quotes_and_a_number_with_zeros_are_what_they_look_like() -> None:
    settings = load_settings(
        "sample", ["workspace='/data/set #1'", "train.seed=010", "runner.task_timeout=90"]
    )
    assert (settings.workspace, settings.train.seed) == ("/data/set #1", 10)


def test_the_packaged_configurations_are_read_as_by_another_reader() -> None:
    from flows.settings import loading

    for name in config_names():
        text = (loading._CONFIGS / f"{name}.yaml").read_text()
        assert read_yaml(text).values == YAML(typ="safe", pure=True).load(text)


def test_a_configuration_that_is_no_file_or_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(InvalidSettingsError, match=f"there is no configuration {path}"):
            load_settings(path)
