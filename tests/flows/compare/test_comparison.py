"""Comparisons: their rows and page, what they reuse, and the commands ``compare`` and ``sweep``."""

import base64
import io
import json
import re
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from dcn.figures.matching import matched_labels
from dcn.images.palette import overlay, region_palette
from flows.cli.export import export_labels
from flows.compare.page import write_comparison
from flows.compare.rows import comparison_row, comparison_table
from flows.compare.variants import Variant, read_values, segmenter_variants, sweep_variants
from flows.errors import InvalidSettingsError
from flows.evaluation.protocols.foreground import Foreground
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.protocols.modularity import Modularity
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.settings import Settings, SweepSettings
from flows.settings.loading import load_settings
from tests.conftest import draw_scene
from tests.flows.helpers import changed, command, run_stages

ODD = '<img src=x onerror=alert(1)> & "b"'
LABELS = ["kmeans, k = 2", "kmeans, k = 3", "ncut, k = 2", "ncut, k = 3", "pixels"]


@pytest.fixture(scope="module")
def settings(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("comparison")
    for seed in range(5):
        name = ODD if seed == 0 else f"scene {seed}"
        for folder, array in zip(("photos", "masks"), draw_scene(seed), strict=True):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{name}.png")
    (root / "classes.txt").write_text("background\nred\nblue\n")
    dataset = {
        "name": "folder",
        "root": str(root / "photos"),
        "masks": str(root / "masks"),
        "classes": str(root / "classes.txt"),
    }
    return Settings.model_validate(
        {
            **tiny_config,
            "dataset": dataset,
            "language": {"model": "ViT-B-16:openai"},
            "compare": {"segmenters": ["kmeans", "ncut", "pixels"], "num_regions": [2, 3]},
            "evaluate": {"num_seeds": 2, "num_clusters": 2, "neighbors": [1, 5]},
            "workspace": str(root / "workspace"),
        }
    )


@pytest.fixture(scope="module")
def variants(settings: Settings) -> list[Variant]:
    found = segmenter_variants(settings)
    for variant in found:
        run_stages(variant.settings, "evaluate")
    return found


class Page(HTMLParser):
    """Cells of every table, and pictures, as a browser reads them."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.inside = False
        self.tags: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.pictures: list[tuple[str, bytes]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True
        elif tag == "img":
            values = dict(attrs)
            kind, _, content = (values["src"] or "").partition(";base64,")
            if kind == "data:image/jpeg":
                self.pictures.append((values["alt"] or "", base64.b64decode(content)))

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.tables[-1][-1][-1] += data


def read_page(variants: list[Variant]) -> tuple[Page, Path]:
    checkpoint, _ = write_comparison(variants)
    path = Path(checkpoint.location, "files") / "comparison.html"
    return Page(path.read_text()), path


def test_variants_differ_in_their_segmenter_alone(settings: Settings) -> None:
    variants = segmenter_variants(settings)
    assert [variant.name for variant in variants] == LABELS
    assert [variant.group for variant in variants] == ["kmeans", "kmeans", "ncut", "ncut", "pixels"]
    assert [variant.settings.num_regions for variant in variants] == [2, 3, 2, 3, 21]
    for variant in variants:
        assert variant.settings.language.model is None
        assert variant.settings.evaluate.attainable_images == 0
        assert variant.settings.backbone == settings.backbone
    everything = changed(settings, compare={"segmenters": ["dcn", "spectral"], "num_regions": [4]})
    dcn, spectral = segmenter_variants(everything)
    assert (dcn.settings.train.num_prototypes, spectral.settings.train.num_prototypes) == (4, 3)


def test_rows_hold_the_metrics_of_each(variants: list[Variant], tmp_path: Path) -> None:
    rows = [comparison_row(variant) for variant in variants]
    assert [row.name for row in rows] == LABELS
    for variant, row in zip(variants, rows, strict=True):
        job = find_job(variant.settings)
        results = read_results(job)
        assert row.cells["kmeans_miou"].value == results.of(KMeans).miou
        assert row.cells["upper_bound_miou"].value == results.of(UpperBound).miou
        assert row.cells["foreground_iou"].value == results.of(Foreground).iou
        assert row.cells["modularity"].value == results.of(Modularity).hard_modularity
        export_labels(variant.settings, "regions", tmp_path / variant.name)
        maps = [np.asarray(Image.open(path)) for path in (tmp_path / variant.name).glob("*.png")]
        assert row.regions_per_image == pytest.approx(np.mean([len(np.unique(labels)) for labels in maps]))
        assert row.cells["regions_per_image"].value == row.regions_per_image
        seconds = row.cells["seconds_per_image"].value
        assert isinstance(seconds, float)
        assert seconds > 0
        one_run = variant.name == "pixels"
        assert row.cells["knn_miou"].value == (None if one_run else results.of(KNN).miou(5))
        assert (row.cells["kmeans_miou"].deviation is None) == one_run
        assert row.cells["covering"].value is row.cells["published_miou"].value is None


def test_the_table_leaves_out_what_nobody_has(variants: list[Variant]) -> None:
    rows = [comparison_row(variant) for variant in variants]
    titles, cells = comparison_table(rows)
    assert "Rand index" not in titles
    assert titles[1:3] == ["average best overlap", "covering"]
    assert "published, VOC 2012 with DINO" not in titles
    column = titles.index("cluster mIoU")
    for row, line in zip(rows, cells, strict=True):
        assert line[0] == row.name
        cell = row.cells["kmeans_miou"]
        expected = f"{cell.value:.3f}"
        if row.name != "pixels":
            expected += f" ± {cell.deviation:.3f}"
        assert line[column] == expected
    assert [line[titles.index("k-NN mIoU, k = 5")] == "-" for line in cells] == [
        name == "pixels" for name in LABELS
    ]


def test_the_page_has_the_table_and_one_picture_per_photograph_and_segmenter(
    variants: list[Variant], tmp_path: Path
) -> None:
    page, path = read_page(variants)
    table, _, provenance = page.tables
    rows = [comparison_row(variant) for variant in variants]
    assert json.loads(path.with_name("comparison.json").read_text()) == [row.to_json() for row in rows]
    titles, cells = comparison_table(rows)
    assert table == [titles, *cells]
    assert provenance[1:] == [[v.name, find_job(v.settings).keys["evaluate"]] for v in variants]
    # Of each group the variant with the number of regions nearest to 5, which is the most that a photograph has.
    shown = ["kmeans, k = 3", "ncut, k = 3", "pixels"]
    for variant in variants:
        export_labels(variant.settings, "regions", tmp_path / variant.name)
    ids = sorted([ODD, *(f"scene {seed}" for seed in range(1, 5))])
    expected = [f"{column}, {name}" for name in ids for column in ("photograph", *shown)]
    assert [alt for alt, _ in page.pictures] == expected
    pictures = {alt: np.asarray(Image.open(io.BytesIO(content))) for alt, content in page.pictures}
    assert all(picture.shape == (48, 64, 3) for picture in pictures.values())
    for seed, name in enumerate([ODD, *(f"scene {seed}" for seed in range(1, 5))]):
        difference = np.abs(pictures[f"photograph, {name}"].astype(int) - draw_scene(seed)[0]).mean()
        assert difference < 12  # of JPEG
        first = np.asarray(Image.open(tmp_path / shown[0] / f"{name}.png"))
        for column in shown:
            regions = np.asarray(Image.open(tmp_path / column / f"{name}.png"))
            regions = matched_labels(regions, first)
            expected_picture = overlay(draw_scene(seed)[0], regions, region_palette())
            assert np.abs(pictures[f"{column}, {name}"].astype(int) - expected_picture).mean() < 12


def test_names_are_escaped(variants: list[Variant]) -> None:
    renamed = [Variant(f"<script>{v.name}</script>", v.group, v.settings) for v in variants[:2]]
    page, path = read_page(renamed)
    assert "script" not in page.tags
    assert page.tables[0][1][0] == "<script>kmeans, k = 2</script>"
    content = path.read_text()
    assert "<img src=x" not in content
    assert ODD in unescape(content)


def test_a_second_comparison_computes_nothing(variants: list[Variant]) -> None:
    for variant in variants:
        assert all(result.reused for result in run_stages(variant.settings, "evaluate").values())
    _, path = read_page(variants)
    before = path.stat().st_mtime_ns, path.read_bytes()
    assert read_page(variants)[1] == path
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    assert read_page(variants[:3])[1] != path


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("train.num_prototypes", r"--over train.num_prototypes: write section.name=value,value,\.\.\."),
        ("train.num_prototypes=3,", "--over train.num_prototypes=3,: write section.name=value"),
        ("dataset.root=a,b", "dataset.root: metrics compare on one data set only"),
        ("sweep.over=1,2", "sweep.over: metrics compare on one data set only"),
        ("=3,5", "write section.name=value"),
        ("train.prototypes=normal,none", "train.prototypes: .*not 'none'"),
        ("train.nothing=1,2", "train.nothing: .*no such setting"),
        ("shard_images.x=1,2", "shard_images is not a section"),
        ("train.num_prototypes=3,[5", "the value is not YAML"),
    ],
)
def test_a_wrong_sweep_is_a_sentence(config_file: Path, over: str, message: str) -> None:
    with pytest.raises(InvalidSettingsError, match=message):
        sweep_variants(swept(load_settings(config_file), read_values([over])))


def test_a_value_of_a_sweep_may_be_a_list() -> None:
    over = ["embed.source=crop,[crop,tokens]", "train.seed=3"]
    assert read_values(over) == {"embed.source": ["crop", ["crop", "tokens"]], "train.seed": [3]}


@pytest.mark.parametrize("over", [{}, {"train.seed": []}])
def test_a_sweep_over_nothing_is_a_sentence(config_file: Path, over: dict[str, list[Any]]) -> None:
    with pytest.raises(InvalidSettingsError, match=r"sweep.over: write \{section.name: \[value, value\]\}"):
        sweep_variants(swept(load_settings(config_file), over))


def test_a_sweep_has_every_combination(config_file: Path, tmp_path: Path) -> None:
    over = ["train.num_prototypes=3,5", "train.self_update=true,false"]
    settings = load_settings(config_file, ["train.seed=7"], str(tmp_path))
    variants = sweep_variants(swept(settings, read_values(over)))
    assert [(v.name, v.settings.train.num_prototypes, v.settings.train.self_update) for v in variants] == [
        ("train.num_prototypes=3, train.self_update=true", 3, True),
        ("train.num_prototypes=3, train.self_update=false", 3, False),
        ("train.num_prototypes=5, train.self_update=true", 5, True),
        ("train.num_prototypes=5, train.self_update=false", 5, False),
    ]
    assert all(v.settings.train.seed == 7 and v.settings.workspace == str(tmp_path) for v in variants)


def test_what_a_segmenter_does_not_have_is_left_out_of_a_sweep() -> None:
    """A number of regions that nobody set does not follow to a segmenter that has none."""
    settings = Settings.model_validate({"segment": {"segmenter": {"name": "kmeans"}}})
    variants = sweep_variants(swept(settings, {"segment.segmenter.name": ["kmeans", "pixels"]}))
    assert [v.settings.segment.segmenter.name for v in variants] == ["kmeans", "pixels"]
    assert [v.settings.dataset.name for v in variants] == ["sample", "sample"]


def swept(settings: Settings, over: dict[str, list[Any]]) -> Settings:
    return settings.model_copy(update={"sweep": SweepSettings(over=over)})


@pytest.fixture(scope="module")
def config_file(settings: Settings) -> Path:
    path = Path(settings.workspace).with_name("config.yaml")
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    return path


@pytest.mark.slow
class TestCommands:
    """``dcn compare`` and ``dcn sweep`` in processes of their own."""

    @staticmethod
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300)
        assert "Traceback" not in result.stderr + result.stdout
        return result

    @staticmethod
    def lines(output: str) -> dict[str, str]:
        """First number of each line of a table, by the name of its variant."""
        return dict(re.findall(r"^ *(\S.*?) {2,}(\d\.\d+)", output, re.MULTILINE))

    def test_compare(self, config_file: Path, variants: list[Variant]) -> None:
        times = {
            path: path.stat().st_mtime_ns
            for path in Path(variants[0].settings.workspace).rglob("shards/*.json")
        }
        assert times
        chosen = ["--set", "compare.segmenters=[ncut, pixels]", "--set", "compare.num_regions=[3]"]
        result = self.run("compare", config_file, *chosen)
        assert result.returncode == 0, result.stderr
        checkpoint, rows = write_comparison(variants[3:])
        assert self.lines(result.stdout) == {row.name: f"{row.cells['abo'].value:.3f}" for row in rows}
        assert str(Path(checkpoint.location, "files") / "comparison.html") in result.stdout
        # The stages had run in this process: the command computed nothing of them anew.
        assert times == {path: path.stat().st_mtime_ns for path in times}
        assert len([*Path(variants[0].settings.workspace).glob("evaluate/*")]) == len(LABELS)

    def test_sweep(self, config_file: Path, variants: list[Variant]) -> None:
        """It finds what the comparison computed of the same settings, and its page is another."""
        values = ("segment.segmenter={name: kmeans}", "evaluate.attainable_images=0", "language={}")
        options = [part for value in values for part in ("--set", value)]
        over = ["--over", "segment.segmenter.num_regions=2,3"]
        result = self.run("sweep", config_file, *options, *over)
        assert result.returncode == 0, result.stderr
        names = [f"segment.segmenter.num_regions={k}" for k in (2, 3)]
        rows = [comparison_row(variant) for variant in variants[:2]]
        expected = [f"{row.cells['abo'].value:.3f}" for row in rows]
        found = {name.removeprefix("→ "): value for name, value in self.lines(result.stdout).items()}
        assert found == dict(zip(names, expected, strict=True))
        chosen = max(rows, key=lambda row: row.cells["label_free_score"].value or 0)
        marked = [name for name, row in zip(names, rows, strict=True) if row is chosen]
        assert [name for name in self.lines(result.stdout) if name.startswith("→")] == [f"→ {marked[0]}"]
        assert f"the choice is {marked[0]}:" in " ".join(result.stdout.split())
        page = Page(Path(result.stdout.split("Open ")[1].strip()).read_text())
        assert [row[0].removeprefix("→ ") for row in page.tables[0][1:]] == names
        assert page.tables[1][0] == ["photograph", *names]
        assert len(page.pictures) == 5 * 3
        assert len([*Path(variants[0].settings.workspace).glob("evaluate/*")]) == len(LABELS)
