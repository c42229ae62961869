"""Keys hold the settings that differ from their defaults, so that a new setting changes no key."""

from typing import Any, Literal

import pytest
from pydantic import create_model

from dcn.segmenters import KMeansSegmenter, SpectralSegmenter
from flows.execution.keys import changed_settings, stage_key
from flows.execution.plan import STAGES
from flows.settings import SegmentSettings, Settings, TrainSettings
from flows.stages.index import IndexStage
from tests.flows.helpers import changed

INPUTS = {"index": "0" * 32}
DINO = Settings.model_validate({"backbone": {"name": "dino-s8"}})


def key(stage: str, settings: Settings) -> str:
    return stage_key(STAGES[stage], settings.resolve(), INPUTS)


def with_one_more(section: type[Any], kind: Any, default: Any) -> type[Any]:
    """The section as a later release may have it."""
    later: type[Any] = create_model(section.__name__, __base__=section, new=(kind, default))
    return later


@pytest.mark.parametrize(
    ("stage", "section"), [("train", "train"), ("embed", "embed"), ("evaluate", "evaluate")]
)
def test_a_new_setting_changes_a_key_only_where_it_is_not_at_its_default(stage: str, section: str) -> None:
    later = with_one_more(type(getattr(DINO, section)), int | None, None)
    values = dict(getattr(DINO, section))
    unset, set_ = (DINO.model_copy(update={section: later(**values, **new)}) for new in ({}, {"new": 3}))
    assert key(stage, unset) == key(stage, DINO)
    assert key(stage, set_) != key(stage, DINO)


def segmented_by(segmenter: Any) -> Settings:
    """Settings in which a class that no table has is the segmenter."""
    section: type[Any] = create_model("Later", __base__=SegmentSettings, segmenter=(type(segmenter), ...))
    return DINO.model_copy(update={"segment": section(segmenter=segmenter)})


def test_so_does_a_new_option_of_a_segmenter() -> None:
    later = with_one_more(KMeansSegmenter, Literal["full", "quick"], "full")
    before = key("segment", changed(DINO, segment={"segmenter": {"name": "kmeans", "num_regions": 3}}))
    assert key("segment", segmented_by(later(num_regions=3))) == before
    assert key("segment", segmented_by(later(num_regions=3, new="full"))) == before
    assert key("segment", segmented_by(later(num_regions=3, new="quick"))) != before


def test_a_default_that_is_written_out_is_the_default() -> None:
    defaults = TrainSettings().model_dump(mode="json")
    assert key("train", changed(DINO, train=defaults)) == key("train", DINO)
    for name, other in (
        ("heads", 2),
        ("temperature", 0.2),
        ("max_gradient_norm", None),
        ("self_update", False),
    ):
        assert key("train", changed(DINO, train={name: other})) != key("train", DINO)


def test_names_are_always_in_the_key() -> None:
    """Two segmenters, or two backbones, with everything at its default."""
    names = ("dcn", "kmeans", "spectral", "ncut", "modularity", "pixels")
    keys = {key("segment", changed(DINO, segment={"segmenter": {"name": name}})) for name in names}
    assert len(keys) == len(names)
    assert key("extract", changed(DINO, backbone={"name": "dino-s16"})) != key("extract", DINO)
    folder = changed(DINO, dataset={"name": "folder", "root": "photos"})
    assert key("index", folder) != key("index", DINO)
    fixed = {"name": "dcn"}
    assert changed_settings({"segmenter": fixed}, {"segmenter": fixed}) == {"segmenter": fixed}


def test_a_default_of_the_preset_counts_by_its_value() -> None:
    """focus-s14 has other defaults than most backbones; a value is in the key whoever gave it."""
    focus = Settings.model_validate({"backbone": {"name": "focus-s14"}})
    written = changed(
        focus, backbone={"input_size": 392, "attention_block": -1}, embed={"layer": -3, "size": 224}
    )
    papers = changed(focus, backbone={"input_size": 224}, embed={"layer": -1})
    for stage in ("extract", "embed"):
        assert key(stage, written) == key(stage, focus)
        assert key(stage, papers) != key(stage, focus)
    assert key("embed", focus) != key("embed", DINO)
    written = changed(DINO, embed={"layer": -1, "size": 224})
    assert key("embed", written) == key("embed", DINO)


def test_an_option_without_a_default_is_in_the_key() -> None:
    required = with_one_more(SpectralSegmenter, int, ...)
    assert key("segment", segmented_by(required(new=1))) != key("segment", segmented_by(required(new=2)))


def test_the_version_and_the_inputs_of_a_stage_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key("index", DINO)
    assert stage_key(IndexStage(), DINO, {"listing": "1"}) != stage_key(IndexStage(), DINO, {"listing": "2"})
    monkeypatch.setattr(IndexStage, "version", 1000)
    assert key("index", DINO) != before


def test_a_template_of_the_page_is_in_the_key_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key("report", DINO)
    monkeypatch.setattr("flows.stages.report.template_digest", lambda _: "another")
    assert key("report", DINO) != before
