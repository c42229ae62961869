"""The table of protocols: a new line of it reaches arrays, results, page, comparison and keys."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydantic import BaseModel

from dcn.evaluation.protocols import Regions
from flows.cli.export import export_labels
from flows.compare.page import write_comparison
from flows.compare.rows import comparison_row, comparison_table
from flows.compare.variants import Variant
from flows.errors import FlowError, InvalidSummaryError
from flows.evaluation import protocols
from flows.evaluation.inputs import EvaluatedRun, Photograph
from flows.evaluation.protocol import (
    Classification,
    Column,
    Group,
    Headline,
    Protocol,
    ProtocolArray,
    Rows,
    Tally,
)
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.protocols.upper_bound import UpperBound
from flows.evaluation.results import Results, read_results
from flows.execution.plan import find_job
from flows.inputs.summaries import ExtractSummary
from flows.prefect_ui.artifacts import flat_metrics
from flows.report.headline import headline_metrics
from flows.settings import Settings
from flows.stage import Warn
from storage import ArraySpec
from tests.flows.helpers import changed, run_stages


class ShareMetrics(BaseModel):
    """Mean share of a photograph that its largest region has, and the number of labelled pixels."""

    largest: float
    labelled_pixels: int


class Share(Protocol[ShareMetrics]):
    """A protocol of its own: arrays of two lengths, from label maps and masks at full size."""

    name = "share"
    group = Group.REGIONS
    metrics_type = ShareMetrics

    def arrays(self, run: EvaluatedRun) -> tuple[ProtocolArray, ...]:
        return (
            ProtocolArray(ArraySpec("share", (run.num_regions,), "float32", ("region",)), np.nan),
            ProtocolArray(ArraySpec("pixels_of_labels", (256,), "int64", ("label",))),
        )

    def measure(self, photograph: Photograph) -> Rows:
        areas = np.bincount(photograph.labels.ravel(), minlength=photograph.run.num_regions)
        rows: Rows = {"share": areas / areas.sum()}
        if photograph.mask is not None:
            rows["pixels_of_labels"] = np.bincount(photograph.mask.ravel(), minlength=256)
        return rows

    def tally(self, run: EvaluatedRun, rows: npt.NDArray[np.int64], warn: Warn) -> Tally[ShareMetrics]:
        warn(f"share is measured on {len(rows)} photographs")
        return ShareTally(run, rows)

    def headline(self, metrics: ShareMetrics) -> list[Headline]:
        return [Headline("largest region", f"{metrics.largest:.3f}", "share of the photograph")]

    def columns(self) -> tuple[Column[ShareMetrics], ...]:
        return (Column("largest", "largest region", lambda found: found.largest, digits=2),)

    def classifications(self, metrics: ShareMetrics) -> list[Classification]:
        return []


class ShareTally(Tally[ShareMetrics]):
    def __init__(self, run: EvaluatedRun, rows: npt.NDArray[np.int64]) -> None:
        self.run, self.rows = run, rows
        self.largest: list[float] = []

    def add(self, block: Regions) -> None:
        rows = np.unique(block.image)
        self.largest.extend(self.run.read("share", rows).max(axis=1).tolist())

    def metrics(self) -> ShareMetrics:
        labelled = self.run.read_all("pixels_of_labels")[self.rows][:, :255].sum()
        return ShareMetrics(largest=float(np.mean(self.largest)), labelled_pixels=int(labelled))


@pytest.fixture
def with_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has one more line."""
    monkeypatch.setattr(protocols, "PROTOCOLS", (*protocols.PROTOCOLS, Share()))


@pytest.mark.usefixtures("with_share")
def test_one_more_line_in_the_table_is_measured_and_shown(copy: Settings, tmp_path: Path) -> None:
    stages = run_stages(copy)
    assert [stage for stage, result in stages.items() if not result.reused] == ["evaluate", "report"]
    job = find_job(copy)
    export_labels(copy, "regions", tmp_path / "regions")
    maps = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "regions").rglob("*.png"))]
    shares = np.array([np.bincount(labels.ravel(), minlength=3) / labels.size for labels in maps])
    np.testing.assert_allclose(job.checkpoint("evaluate").array("share").rows(0, 14), shares, rtol=1e-6)

    results = read_results(job)
    metrics = results.of(Share)
    assert metrics.largest == pytest.approx(shares.max(axis=1).mean())
    assert metrics.labelled_pixels == sum(labels.size for labels in maps)  # these masks have no void pixel
    stored = json.loads(job.checkpoint("evaluate").read_file("results.json"))
    assert stored["share"] == metrics.model_dump()
    assert list(stored)[-1] == "share"
    assert "share is measured on 14 photographs" in stages["evaluate"].warnings

    text = f"{metrics.largest:.3f}"
    assert headline_metrics(results)[-1] == Headline("largest region", text, "share of the photograph")
    page = job.checkpoint("report").read_file("report.html").decode()
    assert f'<dt>largest region</dt><dd class="value">{text}</dd>' in page
    assert ("share.labelled_pixels", str(metrics.labelled_pixels)) in flat_metrics(results.to_json())


@pytest.mark.usefixtures("with_share")
def test_one_more_line_in_the_table_is_a_column_of_comparisons(copy: Settings) -> None:
    run_stages(copy, "evaluate")
    variant = Variant("tiny", "dcn", copy)
    row = comparison_row(variant)
    titles, (cells,) = comparison_table([row])
    # Behind the other measures of regions, before the cost.
    assert titles[-3:] == ["label-free score", "largest region", "seconds per image"]
    assert cells[titles.index("largest region")] == f"{read_results(find_job(copy)).of(Share).largest:.2f}"
    checkpoint, _ = write_comparison([variant])
    assert b"largest region" in checkpoint.read_file("comparison.html")
    (stored,) = json.loads(checkpoint.read_file("comparison.json"))
    assert stored["largest"] == row.cells["largest"].value


def test_a_new_version_of_a_protocol_costs_the_evaluation_alone(
    finished: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_job(finished).keys
    monkeypatch.setattr(UpperBound, "version", UpperBound.version + 1)
    after = find_job(finished).keys
    assert {stage for stage in before if before[stage] != after[stage]} == {"evaluate", "report"}


def test_arrays_of_all_protocols_have_names_of_their_own(finished: Settings) -> None:
    run = EvaluatedRun.open(find_job(finished))
    wanted = [protocol for protocol in protocols.PROTOCOLS if protocol.is_wanted(run.settings)]
    specs = [array.spec.name for protocol in wanted for array in protocol.arrays(run)]
    assert len(set(specs)) == len(specs)
    assert len({protocol.name for protocol in protocols.PROTOCOLS}) == len(protocols.PROTOCOLS)
    columns = [column.name for protocol in protocols.PROTOCOLS for column in protocol.columns()]
    assert len(set(columns)) == len(columns)


def test_results_keep_every_byte_of_their_file(finished: Settings) -> None:
    content = find_job(finished).checkpoint("evaluate").read_file("results.json")
    results = Results.from_json(json.loads(content))
    assert json.dumps(results.to_json(), indent=1).encode() == content
    # Readers of the file know this order.
    assert list(results.to_json()) == [
        "split",
        "images",
        "segmentation",
        "labelled_images",
        "label_free",
        "region_measures",
        "kmeans",
        "upper_bound",
        "foreground",
        "foreground_variants",
        "knn",
        "angles",
        "true_regions",
    ]


def test_absent_and_undefined_metrics_stay_what_they_are() -> None:
    undefined = {"miou": None, "accuracy": None, "class_iou": [None], "confusion": [[0]]}
    value = {
        "split": "val",
        "images": 2,
        "labelled_images": 0,
        "regions_without_embedding": 1,
        "kmeans": {"clusters": 3, "seeds": 1, "shown_seed": 0},
        "upper_bound": undefined,
        "knn": {"10": undefined},
    }
    results = Results.from_json(value)
    assert results.to_json() == value
    assert results.of(KMeans).miou is None
    assert results.of(UpperBound).miou is None
    with pytest.raises(FlowError, match="the results have no section share.*kmeans, upper_bound, knn"):
        results.of(Share)


def test_a_summary_of_other_software_is_a_sentence(finished: Settings) -> None:
    manifest = find_job(finished).checkpoint("extract").require()
    assert ExtractSummary.of(manifest).tokens_per_image == 16
    broken = replace(manifest, summary={**manifest.summary, "tokens_per_image": "many"})
    with pytest.raises(InvalidSummaryError, match=rf"extract/{manifest.key} .*\(tokens_per_image: .*delete"):
        ExtractSummary.of(broken)


def test_a_protocol_that_needs_labels_has_no_section_without_them(copy: Settings) -> None:
    unlabelled = changed(copy, dataset={"masks": None, "classes": None})
    found = Results.from_manifest(run_stages(unlabelled, "evaluate")["evaluate"].manifest)
    assert list(found.sections) == ["segmentation", "label_free", "kmeans"]
    run = EvaluatedRun.open(find_job(unlabelled))
    assert not any(protocol.applies(run) for protocol in protocols.PROTOCOLS if protocol.needs_labels)
