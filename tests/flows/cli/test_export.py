"""``dcn export``: label maps, COCO JSON and a table of regions, each read back by another library."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from sklearn.preprocessing import normalize
from torchvision.datasets import CocoDetection
from typer.testing import CliRunner

from dcn.errors import InvalidClassNamesError
from dcn.images.palette import category_palette
from flows.cli.app import app
from flows.cli.export import export_labels
from flows.cli.export.formats import FORMATS
from flows.cli.export.region_table import file_cell, text_cell
from flows.errors import FlowError, InvalidSettingsError, describe_error
from flows.execution.plan import find_job
from flows.inputs.image_index import open_index
from flows.report.pictures import ResultReader, drawn
from flows.settings import Settings
from tests.conftest import draw_photographs
from tests.flows.helpers import changed, photograph_folder_of, run_stages, without_truth

EVERY = tuple(FORMATS)
ODD_NAMES = ("=1+2.png", "@SUM(1).png", 'a "b", c.png', "-x.png")


@pytest.fixture(scope="module")
def clustered(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny pipeline on photographs without ground truth; some have names that a spreadsheet calculates."""
    folder = draw_photographs(tmp_path_factory.mktemp("clustered"), 6) / "photos"
    for name, file in zip(ODD_NAMES, sorted(folder.rglob("*.png")), strict=False):
        file.rename(folder / name)
    workspace = str(tmp_path_factory.mktemp("workspace"))
    settings = Settings.model_validate({**tiny_config, "workspace": workspace})
    segmenter = {"name": "kmeans", "num_regions": 3}
    quick = {"num_clusters": 3, "num_seeds": 1, "neighbors": [], "attainable_images": 0}
    settings = changed(
        settings, dataset=without_truth(folder), segment={"segmenter": segmenter}, evaluate=quick
    )
    run_stages(settings, "evaluate")
    return settings


@pytest.fixture(scope="module")
def exported(clustered: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``regions`` and ``semantic`` with all formats."""
    output = tmp_path_factory.mktemp("exported")
    for what in ("regions", "semantic"):
        assert export_labels(clustered, what, output / what, EVERY) == 6
    return output


def label_map(folder: Path, file_name: str) -> np.ndarray:
    return np.asarray(Image.open(folder / Path(file_name).with_suffix(".png")))


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "regions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("what", ["regions", "semantic"])
def test_pycocotools_reads_the_label_maps(exported: Path, what: str) -> None:
    coco = COCO(exported / what / "coco.json")
    images = coco.loadImgs(coco.getImgIds())
    assert len(images) == 6
    for image in images:
        labels = label_map(exported / what, image["file_name"])
        assert labels.shape == (image["height"], image["width"])
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        if what == "semantic":
            painted = np.zeros_like(labels)
            for one in annotations:
                painted[coco.annToMask(one) == 1] = one["category_id"]
            np.testing.assert_array_equal(painted, labels)
        else:
            masks = np.stack([coco.annToMask(one) for one in annotations])
            np.testing.assert_array_equal(masks.sum(axis=0), 1)
            expected = np.unique(labels)
            assert [int(labels[mask == 1].max()) for mask in masks] == expected.tolist()


def test_torchvision_reads_the_photographs_with_their_masks(clustered: Settings, exported: Path) -> None:
    root, file = photograph_folder_of(clustered), exported / "semantic" / "coco.json"
    dataset = CocoDetection(root, file)
    assert len(dataset) == 6
    for photograph, found in dataset:
        for one in found:
            assert dataset.coco.annToMask(one).shape == (photograph.height, photograph.width)


def test_the_importer_of_datumaro_reads_the_label_maps(exported: Path, tmp_path: Path) -> None:
    """Not among the tests' packages: it needs an older Pillow than this one, and 500 MB."""
    datumaro = pytest.importorskip("datumaro")
    (tmp_path / "annotations").mkdir()
    shutil.copy(exported / "semantic" / "coco.json", tmp_path / "annotations" / "instances_default.json")
    dataset = datumaro.Dataset.import_from(str(tmp_path), "coco")
    for item in dataset:
        labels = label_map(exported / "semantic", f"{item.id}.png")
        painted = np.zeros_like(labels)
        for one in item.annotations:
            if one.type == datumaro.AnnotationType.mask:
                painted[one.image.astype(bool)] = one.label + 1
        np.testing.assert_array_equal(painted, labels)


def test_a_photograph_of_the_document_is_a_file_of_the_data_set(clustered: Settings, exported: Path) -> None:
    document = json.loads((exported / "regions" / "coco.json").read_text())
    for image in document["images"]:
        with Image.open(photograph_folder_of(clustered) / image["file_name"]) as photograph:
            assert photograph.size == (image["width"], image["height"])


def test_classes_are_listed_with_names_and_colors(exported: Path) -> None:
    listed = json.loads((exported / "semantic" / "classes.json").read_text())
    assert [one["index"] for one in listed] == [0, 1, 2, 3]
    assert [one["name"] for one in listed] == ["background", "cluster 1", "cluster 2", "cluster 3"]
    document = json.loads((exported / "semantic" / "coco.json").read_text())
    assert document["categories"] == [{"id": one["index"], "name": one["name"]} for one in listed[1:]]
    (first, *_) = sorted((exported / "semantic").glob("*.png"))
    palette = np.array(Image.open(first).getpalette()).reshape(-1, 3)
    for one in listed:
        assert one["color"] == "#" + "".join(f"{value:02x}" for value in palette[one["index"]])


def test_the_table_has_a_line_for_each_region(clustered: Settings, exported: Path) -> None:
    job = find_job(clustered)
    embedding = job.checkpoint("embed").array("embedding")
    centers = job.checkpoint("evaluate").read_values("class_centers.npy")
    rows = table(exported / "regions")
    assert rows == table(exported / "semantic")
    seen = 0
    for image in open_index(job).images():
        labels = label_map(exported / "regions", image.item.image)
        classes = label_map(exported / "semantic", image.item.image)
        of_image = [row for row in rows if Path(row["photograph"]) == Path(image.item.image)]
        assert [int(row["region"]) for row in of_image] == np.unique(labels).tolist()
        seen += len(of_image)
        for row in of_image:
            mask = labels == int(row["region"])
            lines, columns = np.nonzero(mask)
            assert int(row["area"]) == mask.sum()
            box = [int(row[name]) for name in ("left", "top", "width", "height")]
            assert box == [columns.min(), lines.min(), np.ptp(columns) + 1, np.ptp(lines) + 1]
            (number,) = np.unique(classes[mask])
            assert row["class"] == (f"cluster {number}" if number else "background")
            vector = embedding.rows(image.row, image.row + 1)[0][int(row["region"])].astype(np.float64)
            if row["foreground"] == "1":
                nearest = np.linalg.norm(normalize(vector[None]) - centers, axis=1)
                assert float(row["distance"]) == pytest.approx(nearest.min(), abs=1e-5)
                assert nearest.argmin() + 1 == number
            else:
                assert row["distance"] == ""
    assert seen == len(rows)


def test_no_cell_begins_a_formula(exported: Path) -> None:
    text = (exported / "regions" / "regions.csv").read_text()
    assert '"./=1+2.png"' in text
    assert '"./@SUM(1).png"' in text
    assert '"./-x.png"' in text
    assert '"a ""b"", c.png"' in text
    assert all(
        not cell.startswith(tuple("=+-@")) for row in table(exported / "regions") for cell in row.values()
    )
    assert text_cell("=1+2") == "'=1+2"
    assert text_cell("\uff1d1") == "'\uff1d1"
    assert text_cell("a\tb\r\n") == r"a\x09b\x0d\x0a"
    assert file_cell("a/=b.jpg") == "a/=b.jpg"


def test_names_join_clusters_in_every_format(clustered: Settings, exported: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("1: cat\n2: background\n3: cat\n")
    named = changed(clustered, report={"names": str(names)})
    export_labels(named, "semantic", tmp_path / "named", EVERY)
    before, after = exported / "semantic", tmp_path / "named"
    for path in before.rglob("*.png"):
        clusters = np.asarray(Image.open(path))
        shown = Image.open(after / path.relative_to(before))
        np.testing.assert_array_equal(np.asarray(shown), np.array([0, 1, 0, 1])[clusters])
        palette = np.array(shown.getpalette()).reshape(-1, 3)
        np.testing.assert_array_equal(palette[:2], category_palette()[:2])
    assert [one["name"] for one in json.loads((after / "classes.json").read_text())] == ["background", "cat"]
    assert json.loads((after / "coco.json").read_text())["categories"] == [{"id": 1, "name": "cat"}]
    renamed = {"background": "background", "cluster 1": "cat", "cluster 2": "background", "cluster 3": "cat"}
    assert [row["class"] for row in table(after)] == [renamed[row["class"]] for row in table(before)]


def test_pictures_of_the_page_have_one_color_for_joined_clusters(clustered: Settings, tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("1: cat\n2: background\n3: cat\n")
    reader = ResultReader(find_job(changed(clustered, report={"names": str(names)})), semantic=True)
    for image in reader.segmented():
        maps = reader.maps(image)
        assert maps.semantic is not None
        colors = category_palette()[np.array([0, 1, 0, 1])]
        np.testing.assert_array_equal(drawn(maps, reader.palette())["semantic"], colors[maps.semantic])


def test_names_that_do_not_fit_are_named_with_their_setting(clustered: Settings, tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("4: cat\n")
    named = changed(clustered, report={"names": str(names)})
    with pytest.raises(InvalidClassNamesError) as raised:
        export_labels(named, "semantic", tmp_path / "out")
    assert "there is no cluster 4: the clusters are 1 to 3" in describe_error(raised.value)
    assert "setting report.names" in describe_error(raised.value)
    names.unlink()
    with pytest.raises(InvalidClassNamesError, match=r"names.yaml cannot be read"):
        export_labels(named, "semantic", tmp_path / "out")


def test_names_of_clusters_have_no_use_where_classes_have_names(finished: Settings, tmp_path: Path) -> None:
    names = tmp_path / "names.yaml"
    names.write_text("1: cat\n")
    with pytest.raises(InvalidSettingsError, match="the classes of this data set have names already"):
        export_labels(changed(finished, report={"names": str(names)}), "semantic", tmp_path / "out")
    export_labels(finished, "semantic", tmp_path / "out", ("csv",))
    assert {row["class"] for row in table(tmp_path / "out")} <= {"background", "red", "blue"}


def test_the_command_writes_several_formats_at_once(clustered: Settings, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("1: cat\n")
    config = str(tmp_path / "config.yaml")
    Path(config).write_text(yaml.safe_dump(clustered.model_dump(mode="json")))
    names, output = str(tmp_path / "names.yaml"), tmp_path / "out"
    arguments = ["export", config, "--output", str(output), "--format", "csv, coco", "--names", names]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "6 photographs as csv, coco in" in result.stdout
    assert sorted(path.name for path in output.iterdir()) == ["classes.json", "coco.json", "regions.csv"]
    assert "cat" in Counter(row["class"] for row in table(output))
    refused = CliRunner().invoke(app, ["export", config, "--output", str(output), "--format", "jpeg"])
    assert refused.exit_code == 1
    assert "there is no format 'jpeg' of an export; choose from png, coco, csv" in refused.stderr


def test_a_failed_export_leaves_no_partial_file(
    clustered: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_labels(clustered, "regions", tmp_path, ("coco", "csv"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("flows.cli.export.labels.LabeledPhotograph.labels", property(lambda _: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        export_labels(clustered, "regions", tmp_path, ("coco", "csv"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_help_of_the_command_lists_all_formats() -> None:
    with pytest.raises(FlowError, match=", ".join(EVERY)):
        export_labels(Settings(), "regions", Path("out"), ("?",))
    assert f"separated by commas: {', '.join(EVERY)}" in " ".join(
        CliRunner().invoke(app, ["export", "--help"]).stdout.replace("│", " ").split()
    )


@pytest.mark.parametrize("fixture", ["clustered", "finished"])
def test_the_stored_centers_give_the_classes_of_the_export(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    """Without ground truth classes are clusters; with it they are those that clusters were matched to."""
    job = find_job(request.getfixturevalue(fixture))
    evaluate, segment = job.checkpoint("evaluate"), job.checkpoint("segment")
    centers, classes = (evaluate.read_values(f"class_{name}.npy") for name in ("centers", "of_cluster"))
    semantic = evaluate.read_values("semantic.npy")
    count = len(semantic)
    area, foreground = (segment.array(name).rows(0, count) for name in ("area", "foreground"))
    embedding = job.checkpoint("embed").array("embedding").rows(0, count)
    assert len(classes) == len(centers) + 1
    for row, region in zip(*np.nonzero(area), strict=True):
        unit = embedding[row, region] / np.linalg.norm(embedding[row, region])
        nearest = 1 + np.linalg.norm(unit - centers, axis=1).argmin() if foreground[row, region] else 0
        assert semantic[row, region] == classes[nearest]
