"""Measures of regions through the pipeline: recomputed from the exported label maps and the masks."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from dcn.evaluation.boundaries import boundary_agreement
from flows.cli.export import export_labels
from flows.evaluation.protocols.region_measures import RegionMeasures
from flows.evaluation.results import Results, read_results
from flows.execution.plan import find_job
from flows.report.headline import headline_metrics
from flows.settings import Settings
from tests.flows.helpers import changed, mask_folder_of, run_stages


def pairs(settings: Settings, output: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Label map and mask of each photograph."""
    export_labels(settings, "regions", output)
    masks = mask_folder_of(settings)
    return [
        (np.asarray(Image.open(path)), np.asarray(Image.open(masks / path.relative_to(output))))
        for path in sorted(output.rglob("*.png"))
    ]


def test_the_metrics_are_those_of_the_exported_files(finished: Settings, tmp_path: Path) -> None:
    found = read_results(find_job(finished)).of(RegionMeasures)
    overlaps: list[list[float]] = [[], [], []]
    coverings, regions, classes, boundary = [], [], [], []
    for labels, mask in pairs(finished, tmp_path):
        best = {}
        for c in np.unique(mask):
            true = mask == c
            best[c] = max(
                (true & (labels == r)).sum() / (true | (labels == r)).sum() for r in set(labels.flat)
            )
            overlaps[c].append(best[c])
        coverings.append(sum((mask == c).mean() * best[c] for c in best))
        regions.append(len(set(labels.flat)))
        classes.append(len(best))
        boundary.append(boundary_agreement(labels, mask.astype(np.int32)).f)
    assert found.class_abo == pytest.approx([np.mean(values) for values in overlaps], abs=1e-6)
    assert found.abo == pytest.approx(np.mean([np.mean(values) for values in overlaps[1:]]), abs=1e-6)
    assert found.covering == pytest.approx(np.mean(coverings), abs=1e-6)
    assert found.boundary_f == pytest.approx(np.mean(boundary), abs=1e-6)
    assert found.true_regions_per_image == np.mean(classes)
    rho = None if len(set(regions)) == 1 else spearmanr(regions, classes).statistic
    assert found.region_correlation == (rho if rho is None else pytest.approx(rho))
    assert 0 <= found.rims <= 1
    for value, interval in ((found.abo, found.abo_interval), (found.covering, found.covering_interval)):
        assert value is not None
        assert interval is not None
        assert interval.low < value < interval.high


def test_the_page_and_the_headline_show_them(finished: Settings) -> None:
    job = find_job(finished)
    results = read_results(job)
    found = results.of(RegionMeasures)
    shown = {headline.name: headline.value for headline in headline_metrics(results)}
    assert found.abo_interval is not None
    low, high = found.abo_interval.low, found.abo_interval.high
    assert shown["average best overlap"] == f"{found.abo:.3f} [{low:.3f}, {high:.3f}]"
    names = list(shown)
    assert names.index("covering") < names.index("k-means mIoU")
    page = job.checkpoint("report").read_file("report.html").decode()
    assert shown["average best overlap"] in page
    assert 'alt="regions against classes"' in page
    (red,) = [line for line in page.splitlines() if "</span>red</td>" in line]
    assert f'<td class="number">{found.class_abo[1]:.3f}</td>' in red


def with_own_masks(settings: Settings, folder: Path) -> Settings:
    """The same settings with a copy of the masks, which the test may change."""
    shutil.copytree(mask_folder_of(settings), folder)
    return changed(settings, dataset={"masks": str(folder)})


def test_a_photograph_without_a_label_counts_nowhere(copy: Settings, tmp_path: Path) -> None:
    settings = with_own_masks(copy, tmp_path / "masks")
    masks = sorted((tmp_path / "masks").rglob("*.png"))
    Image.fromarray(np.full_like(np.asarray(Image.open(masks[0])), 255)).save(masks[0])
    masks[1].unlink()
    results = Results.from_manifest(run_stages(settings, "evaluate")["evaluate"].manifest)
    assert results.labelled_images == results.images - 2
    stored = find_job(settings).checkpoint("evaluate").array("region_measures").rows(0, results.images)
    measured = ~np.isnan(stored).any(axis=1)
    assert measured.sum() == results.labelled_images
    assert results.of(RegionMeasures).covering == pytest.approx(stored[measured, 0].mean(), abs=1e-6)


def test_one_labelled_photograph_has_no_interval(copy: Settings, tmp_path: Path) -> None:
    settings = with_own_masks(copy, tmp_path / "masks")
    for path in sorted((tmp_path / "masks").rglob("*.png"))[1:]:
        path.unlink()
    results = Results.from_manifest(run_stages(settings)["evaluate"].manifest)
    found = results.of(RegionMeasures)
    assert (found.abo_interval, found.covering_interval, found.region_correlation) == (None, None, None)
    covering = {headline.name: headline.value for headline in headline_metrics(results)}["covering"]
    assert covering == f"{found.covering:.3f}"
