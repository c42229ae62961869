"""The form of a deployment: data set and segmenter are tabs with a form each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import is_valid
from pydantic import TypeAdapter

from dcn.datasets import (
    DATASETS,
    BSDS500Options,
    DatasetOptions,
    FolderOptions,
    SampleOptions,
    VOC2012Options,
)
from dcn.segmenters import SEGMENTERS
from flows.settings.choices import SEGMENTER_NAMES, AnyDataset, AnySegmenter

FULL = {
    "sample": SampleOptions(),
    "voc2012": VOC2012Options(root="data"),
    "folder": FolderOptions(root="photographs"),
    "bsds500": BSDS500Options(root="data"),
}


def schema(kind: Any) -> Mapping[str, Any]:
    return TypeAdapter(kind).json_schema()


def tabs(kind: Any) -> dict[str, dict[str, Any]]:
    """Title and schema of every tab, in order."""
    found = schema(kind)
    definitions = [found["$defs"][entry["$ref"].removeprefix("#/$defs/")] for entry in found["anyOf"]]
    return {definition["title"]: definition for definition in definitions}


def opened_tab(kind: Any, value: Mapping[str, Any]) -> str:
    """The tab that Prefect's pages open for a value: the first one that knows most of its options."""
    known = {title: len(value.keys() & tab["properties"].keys()) for title, tab in tabs(kind).items()}
    return max(known, key=lambda title: known[title])


@pytest.mark.parametrize("kind", [AnyDataset, AnySegmenter])
def test_no_choice_is_raw_json(kind: Any) -> None:
    """One of Prefect's pages shows JSON where it finds ``oneOf``."""
    assert "oneOf" not in schema(kind)
    assert "discriminator" not in schema(kind)


def test_every_entry_is_a_tab_with_its_name() -> None:
    assert set(tabs(AnyDataset)) == {entry.model_fields["name"].default for entry in DATASETS}
    assert set(tabs(AnySegmenter)) == set(SEGMENTER_NAMES)


@pytest.mark.parametrize("name", FULL)
def test_a_data_set_opens_its_own_tab(name: str) -> None:
    options: DatasetOptions = FULL[name]
    assert opened_tab(AnyDataset, options.model_dump()) == name


def test_a_folder_needs_no_more_than_its_root() -> None:
    assert opened_tab(AnyDataset, {"name": "folder", "root": "photographs"}) == "folder"


def test_a_segmenter_opens_a_tab_with_its_options() -> None:
    """Segmenters with the same options share the first tab; the name stays what it is."""
    for entry in SEGMENTERS:
        required = {"root": "maps"} if entry.model_fields.get("root") else {}
        value = entry.model_validate(required).model_dump()
        assert tabs(AnySegmenter)[opened_tab(AnySegmenter, value)]["properties"].keys() == value.keys()


@pytest.mark.parametrize(
    "value",
    [
        {"root": "photographs"},
        {"name": "folder"},
        {"name": "folder", "root": "photographs", "split": "val"},
        {"name": "imagenet", "root": "photographs"},
    ],
)
def test_the_schema_refuses_what_the_settings_refuse(value: dict[str, Any]) -> None:
    form = {
        "type": "object",
        "properties": {"dataset": schema(AnyDataset)},
        "$defs": schema(AnyDataset)["$defs"],
    }
    assert not is_valid({"dataset": value}, form)
    assert is_valid({"dataset": {"name": "folder", "root": "photographs"}}, form)
