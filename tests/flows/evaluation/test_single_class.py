"""Ground truth of a single class: no metric of classes rests on it, and the masks of 0 and 255 that cause it are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcn.errors import InvalidDatasetError
from dcn.evaluation.metrics import classification_metrics
from dcn.evaluation.protocols import foreground_metrics
from flows.errors import describe_error
from flows.evaluation.costs import cost_table
from flows.evaluation.protocol import SINGLE_CLASS
from flows.evaluation.results import Results
from flows.execution.plan import find_job
from flows.report.headline import headline_metrics
from flows.settings import Settings
from tests.conftest import draw_scene
from tests.flows.helpers import MakeSettings, changed, run_stages

SCENES = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of red discs, with masks of 0 and 255 as annotation tools write them."""
    for place in ("photos", "masks"):
        (tmp_path / place).mkdir()
    for seed in range(0, 2 * SCENES, 2):
        pixels, labels = draw_scene(seed)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{seed}.png")
        Image.fromarray((labels > 0).astype(np.uint8) * 255).save(tmp_path / "masks" / f"{seed}.png")
    (tmp_path / "classes.txt").write_text("background\nred\n")
    return tmp_path


def settings_of(make: MakeSettings, folder: Path, **dataset: object) -> Settings:
    truth = {"masks": str(folder / "masks"), "classes": str(folder / "classes.txt")}
    return make(
        dataset={"root": str(folder / "photos"), **truth, **dataset},
        train={"iterations": 2, "batch_size": 2, "check_every": 2},
        evaluate={"num_seeds": 2, "attainable_images": 0},
    )


def test_the_index_names_masks_of_0_and_255_and_the_setting_that_reads_them(
    folder: Path, tiny_settings: MakeSettings
) -> None:
    settings = settings_of(tiny_settings, folder)
    with pytest.raises(InvalidDatasetError) as caught:
        run_stages(settings, "index")
    assert describe_error(caught.value) == (
        "the masks have only the values 0 and 255, and 255 is ignored, so no pixel is 'red'; set mask_values to "
        "{0: background, 255: red}, or, if 255 is no class, to {0: background, 255: ignore} (setting "
        "dataset.mask_values)"
    )
    named = changed(settings, dataset={"mask_values": {"0": "background", "255": "red"}})
    manifest = run_stages(named, "index")["index"].manifest
    assert (manifest.summary["labelled"], manifest.summary["refused"]) == (SCENES, 0)
    assert find_job(named).keys["index"] != find_job(settings).keys["index"]
    # Nobody ever wrote down the order of a mapping in JSON, and it changes nothing.
    turned = changed(settings, dataset={"mask_values": {"255": "red", "0": "background"}})
    assert find_job(turned).keys["index"] == find_job(named).keys["index"]


@pytest.mark.slow
def test_with_a_single_class_no_metric_of_classes_is_defined(
    folder: Path, tiny_settings: MakeSettings
) -> None:
    """The object is ignored, so that all that is left is background: today's k-NN reaches 1.000 there."""
    ignored = settings_of(tiny_settings, folder, mask_values={"0": "background", "255": "ignore"})
    evaluated = run_stages(ignored)["evaluate"]
    results = Results.from_manifest(evaluated.manifest)
    shown = {headline.name: headline for headline in headline_metrics(results)}
    for name in ("k-means mIoU", "k-NN mIoU", "upper bound mIoU", "foreground IoU"):
        assert (shown[name].value, shown[name].meaning) == ("not defined", SINGLE_CLASS), name
    assert shown["upper bound pixel accuracy"].value == "not defined"
    assert shown["angles over all"].value == "not defined / not defined"
    assert (
        {row.miou for row in cost_table(results)}
        == {row.accuracy for row in cost_table(results)}
        == {"not defined"}
    )
    assert any(
        "are 'background', so metrics of classes are not defined" in said for said in evaluated.warnings
    )
    content = json.dumps(results.to_json(), allow_nan=False)
    assert '"miou": 1.0' not in content
    page = find_job(ignored).checkpoint("report").read_file("report.html").decode()
    assert SINGLE_CLASS in page
    assert "metrics of classes are not defined; look at the masks" in page

    named = changed(ignored, dataset={"mask_values": {"0": "background", "255": "red"}})
    found = {
        headline.name: headline.value
        for headline in headline_metrics(
            Results.from_manifest(run_stages(named, "evaluate")["evaluate"].manifest)
        )
    }
    assert 0 <= float(found["k-NN mIoU"]) <= 1
    assert SINGLE_CLASS not in found.values()


def test_a_matrix_of_a_single_true_class_has_no_metrics() -> None:
    for matrix in (np.array([[5, 0], [0, 0]]), np.array([[0, 3], [0, 4]]), np.zeros((2, 2), dtype=np.int64)):
        found = classification_metrics(matrix)
        assert (found.miou, found.accuracy, found.class_iou) == (None, None, [None, None])
        assert found.confusion == matrix.tolist()
        assert foreground_metrics(matrix).iou is foreground_metrics(matrix).accuracy is None
    found = classification_metrics(np.array([[5, 0, 0], [0, 3, 0], [1, 0, 0]]))
    assert found.class_iou == [5 / 6, 1.0, None]
    assert found.accuracy == 8 / 9
