"""The examples in the docstrings of ``dcn`` run, and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = (
    "dcn.class_centers",
    "dcn.class_names",
    "dcn.coco",
    "dcn.crops",
    "dcn.did_you_mean",
    "dcn.foreground",
    "dcn.language.prompts",
    "dcn.model_file",
    "dcn.modularity",
    "dcn.network",
    "dcn.options",
    "dcn.regions",
    "dcn.segmenters.assignment",
    "dcn.speckles",
    "dcn.training",
    "dcn.weights.presets",
    "dcn.weights.timm_vits",
    pytest.param("dcn.backbone", marks=pytest.mark.real),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert attempted
    assert not failed
