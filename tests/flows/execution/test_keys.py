"""What a setting or a photograph that changed costs: the stages that depend on it, and no other."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from flows.execution.plan import states
from flows.settings import Settings
from tests.conftest import draw_scene
from tests.flows.helpers import STAGES, MakeSettings, changed, digests, run_stages, without_truth


def reused(settings: Settings) -> list[str]:
    """The stages whose checkpoints are there for these settings."""
    return [state.stage for state in states(settings) if state.state == "complete"]


def test_every_stage_is_complete_and_a_second_run_computes_nothing(finished: Settings) -> None:
    assert reused(finished) == STAGES
    assert all(result.reused for result in run_stages(finished).values())


@pytest.mark.parametrize(
    ("section", "values", "kept"),
    [
        ("backbone", {"input_size": 80}, 1),
        ("backbone", {"token_layer": -2}, 1),
        ("backbone", {"attention_block": -2}, 1),
        ("backbone", {"flip": True}, 1),
        ("train", {"num_prototypes": 2}, 2),
        ("train", {"seed": 1}, 2),
        ("segment", {"region_score": "mean"}, 3),
        ("segment", {"attention_reduction": "min"}, 3),
        ("embed", {"layer": -2}, 4),
        ("embed", {"size": 48}, 4),
        ("evaluate", {"num_seeds": 2}, 5),
        ("evaluate", {"background": "none"}, 5),
        ("report", {"num_photographs": 2}, 6),
        # What changes no result changes no key.
        ("backbone", {"batch_size": 3}, 7),
        ("train", {"save_seconds": 5}, 7),
        ("runner", {"kind": "dask", "workers": 2}, 7),
    ],
)
def test_a_setting_costs_the_stages_that_depend_on_it(
    finished: Settings, section: str, values: dict[str, object], kept: int
) -> None:
    """The chain of the stages is kept up to one of them; embed_truth reads the index alone."""
    chain = [stage for stage in STAGES if stage != "embed_truth"][:kept]
    truth = [] if section == "embed" else ["embed_truth"]
    found = reused(changed(finished, **{section: values}))
    assert found == [stage for stage in STAGES if stage in (*chain, *truth)]


def test_shard_size_changes_no_key(finished: Settings) -> None:
    assert reused(finished.model_copy(update={"shard_images": 5})) == STAGES


def test_the_preset_of_a_name_and_its_values_written_out_are_the_same(finished: Settings) -> None:
    explicit = changed(finished, segment={"attention_reduction": "max"}, embed={"layer": -1})
    assert reused(explicit) == STAGES


def test_another_number_of_prototypes_reuses_the_features_and_leaves_the_old(copy: Settings) -> None:
    before = digests(copy)
    results = run_stages(changed(copy, train={"num_prototypes": 2}), "segment")
    assert [stage for stage, result in results.items() if result.reused] == ["index", "extract"]
    assert digests(copy) == before


def test_touched_photographs_are_indexed_again_and_features_stay(
    copy: Settings, photograph_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(photograph_folder, tmp_path / "data")  # new times
    for path in (tmp_path / "data").rglob("*.png"):
        os.utime(path)
    settings = changed(
        copy,
        dataset={name: str(tmp_path / "data" / file) for name, file in
                 (("root", "photos"), ("masks", "masks"), ("classes", "classes.txt"))},
    )  # fmt: skip
    assert reused(settings) == []
    results = run_stages(settings)
    assert [stage for stage, result in results.items() if not result.reused] == ["index"]


def test_a_changed_photograph_costs_everything_after_it(
    photograph_folder: Path, tmp_path: Path, tiny_settings: MakeSettings
) -> None:
    shutil.copytree(photograph_folder / "photos", tmp_path / "photos")
    dataset = without_truth(tmp_path / "photos")
    run_stages(tiny_settings(dataset=dataset), "extract")
    Image.fromarray(draw_scene(99)[0]).save(tmp_path / "photos" / "left" / "scene 01.png")
    results = run_stages(tiny_settings(dataset=dataset), "extract")
    assert not any(result.reused for result in results.values())
