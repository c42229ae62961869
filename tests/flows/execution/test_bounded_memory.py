"""More images need no more memory: the same metrics, block by block and by samples."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from dcn.evaluation.protocols import Regions
from flows.evaluation import dataset_angles, region_table
from flows.evaluation.protocols.kmeans import KMeans as KMeansProtocol
from flows.evaluation.protocols.knn import KNN
from flows.evaluation.region_table import read_regions, region_blocks
from flows.evaluation.results import Results, read_results
from flows.execution.plan import STAGES, find_job
from flows.execution.run import compute_shards, run_stage
from flows.inputs.image_index import ImageIndex, evenly_spread, open_index
from flows.inputs.models import _load_network
from flows.inputs.region_counts import region_counts
from flows.inputs.summaries import IndexSummary
from flows.settings import Settings
from flows.stage import Job
from flows.stages import index as index_stage
from flows.stages import report
from storage import Checkpoint
from storage.arrays import ArrayReader
from tests.conftest import draw_photographs
from tests.flows.helpers import MakeSettings, changed, run_stages


@pytest.fixture(scope="module")
def embedded(tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The tiny pipeline up to the embeddings of found and of true regions."""
    workspace = tmp_path_factory.mktemp("many") / "workspace"
    settings = Settings.model_validate({**tiny_config, "workspace": str(workspace)})
    for last in ("embed", "embed_truth"):
        run_stages(settings, last)
    return settings


@pytest.fixture
def copy(embedded: Settings, tmp_path: Path) -> Settings:
    """A workspace of the test's own."""
    shutil.copytree(embedded.workspace, tmp_path / "workspace")
    return changed(embedded, workspace=str(tmp_path / "workspace"))


def evaluated(settings: Settings) -> tuple[Results, np.ndarray]:
    """Metrics and classes of a run."""
    run_stages(settings, "evaluate")
    job = find_job(settings)
    return read_results(job), job.checkpoint("evaluate").read_values("semantic.npy")


def same(found: object, expected: object) -> None:
    """Equal, but for the last digits of numbers."""
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            same(found[name], value)
    else:
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_blocks_of_photographs_change_no_metric(copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, semantic = evaluated(copy)
    monkeypatch.setattr(region_table, "_BLOCK", 3)
    monkeypatch.setattr(dataset_angles, "_SHARDS_TOGETHER", 2)
    checkpoint = find_job(copy).checkpoint("evaluate")
    checkpoint.delete()
    results, found = evaluated(copy)
    same(results.to_json(), whole.to_json())
    np.testing.assert_array_equal(found, semantic)
    job = find_job(copy)
    rows = np.array([1, 4, 5, 9, 13])
    assert max(len(np.unique(block.image)) for block in region_blocks(job, rows)) <= 3
    table = read_regions(job, rows)
    area = job.checkpoint("segment").array("area").rows(0, 14)
    places = [(row, region) for row in rows for region in range(3) if area[row, region]]
    assert list(zip(table.image, table.index, strict=True)) == places
    embedding = job.checkpoint("embed").array("embedding").rows(0, 14)
    np.testing.assert_array_equal(table.embedding, [embedding[place] for place in places])
    np.testing.assert_array_equal(region_counts(job), (area > 0).sum(axis=1))
    assert not len(read_regions(job, rows[:0]).image)


def test_a_sample_is_evenly_spread() -> None:
    rows = np.array([2, 3, 5, 7, 11, 13, 17])
    assert evenly_spread(rows, 3).tolist() == [2, 7, 17]
    assert evenly_spread(rows, 1).tolist() == [2]
    for enough in (7, 8, 100):
        assert evenly_spread(rows, enough).tolist() == rows.tolist()
    assert not len(evenly_spread(rows[:0], 3))
    assert not len(evenly_spread(rows, 0))


def test_kmeans_learns_from_a_sample_and_classifies_all(copy: Settings) -> None:
    """Against scikit-learn on the regions of the photographs 0, 3, 7, 10 and 13."""
    settings = changed(copy, evaluate={"sampled_images": 5, "num_clusters": 2, "num_seeds": 3})
    results, semantic = evaluated(settings)
    job = find_job(settings)
    regions = read_regions(job, np.arange(14))
    unit = normalize(regions.embedding)
    learned = regions.foreground & np.isin(regions.image, [0, 3, 6, 10, 13])
    runs = []
    for seed in range(3):
        model = KMeans(2, n_init=1, random_state=seed).fit(unit[learned])
        clusters = np.where(regions.foreground, model.predict(unit) + 1, 0)
        shared = np.array([regions.overlap[clusters == c].sum(axis=0) for c in range(3)])
        union = shared.sum(axis=0) + shared.sum(axis=1)[:, None] - shared
        match = linear_sum_assignment(-shared / union)[1]
        predicted = match[clusters]
        hits = [regions.overlap[predicted == c, c].sum() for c in range(3)]
        given = [regions.overlap[predicted == c].sum() for c in range(3)]
        iou = [h / (g + regions.overlap[:, c].sum() - h) for c, (h, g) in enumerate(zip(hits, given))]
        runs.append((model.inertia_, np.mean(iou), predicted))
    assert results.of(KMeansProtocol).miou == pytest.approx(np.mean([miou for _, miou, _ in runs]))
    shown = min(runs, key=lambda run: run[0])[2]
    np.testing.assert_array_equal(semantic[regions.image, regions.index], shown)
    assert len(regions.image) == (semantic >= 0).sum()


def test_the_bank_of_neighbors_is_a_sample(copy: Settings) -> None:
    """Against a loop over the regions of the photographs 0, 4, 9 and 13."""
    settings = changed(copy, evaluate={"sampled_images": 4, "neighbors": [3]})
    results, _ = evaluated(settings)
    regions = read_regions(find_job(settings), np.arange(14))
    unit = normalize(regions.embedding.astype(np.float64))
    matrix = np.zeros((3, 3), dtype=np.int64)
    for query in range(len(unit)):
        bank = np.flatnonzero(np.isin(regions.image, [0, 4, 9, 13]) & (regions.image != regions.image[query]))
        nearest = bank[np.argsort(-(unit[bank] @ unit[query]), kind="stable")[:3]]
        votes = np.zeros(3)
        for neighbor in nearest:
            votes[regions.overlap[neighbor].argmax()] += max(unit[neighbor] @ unit[query], 0)
        matrix[votes.argmax()] += regions.overlap[query]
    assert results.of(KNN).root[3].confusion == matrix.tolist()


def test_a_shard_looks_at_its_own_part_of_the_index(copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    job = find_job(copy)
    stage: list[str] = []

    def refuse(*_: object) -> np.ndarray:
        raise AssertionError("a shard went through the whole index")

    def watched(job: Job, name: str, shards: list[int]) -> None:
        stage.append(name)
        with monkeypatch.context() as patch:
            patch.setattr(ImageIndex, "split_rows", refuse)
            compute_shards(job, name, shards)

    run_stage(job, "evaluate", watched, lambda _: None)
    assert stage == ["evaluate"]
    attainable = job.checkpoint("evaluate").array("attainable").rows(0, 14)
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(attainable)), [0, 3, 5, 8, 10, 13])


class TestIndex:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        root = draw_photographs(tmp_path / "folder", 14)
        for row in (3, 8, 9):
            (root / "photos" / ("left" if row % 2 else "right") / f"scene {row:02d}.png").write_bytes(b"")
        return root

    @pytest.mark.parametrize("part", [2, 5, 512])
    def test_rows_are_those_of_the_usable_photographs(
        self, folder: Path, part: int, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(index_stage, "_PART", part)
        settings = tiny_settings(dataset={"root": str(folder / "photos"), "masks": None, "classes": None})
        manifest = run_stages(settings, "index")["index"].manifest
        index = open_index(find_job(settings))
        names = [path for path in sorted(folder.rglob("photos/*/*.png")) if path.stat().st_size]
        assert [image.item.id for image in index.images()] == [
            path.relative_to(folder / "photos").with_suffix("").as_posix() for path in names
        ]
        assert [index.image(row).row for row in range(11)] == list(range(11))
        assert (index.summary.images, index.summary.refused) == (11, 3)
        assert sum(index.summary.left_out_of_part.values()) == 3
        # What the shards were given to read is not kept, and the manifest does not name it.
        assert not manifest.files
        assert not find_job(settings).checkpoint("index").file_names(manifest)

    def test_its_parts_are_computed_again_after_a_repair(
        self, folder: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(index_stage, "_PART", 4)
        settings = tiny_settings(dataset={"root": str(folder / "photos"), "masks": None, "classes": None})
        first = run_stages(settings, "index")["index"].manifest
        checkpoint = find_job(settings).checkpoint("index")
        checkpoint.forget(first, [1], [])
        again = run_stages(settings, "index")["index"]
        assert not again.reused
        assert again.manifest.content == first.content
        assert again.manifest.summary == first.summary

    def test_of_very_many_refused_a_page_and_a_manifest_have_the_first(
        self, folder: Path, tiny_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(report, "_SHOWN_REFUSED", 2)
        for number in range(120):
            (folder / "photos" / f"{number:03d}.png").touch()
        settings = tiny_settings(dataset={"root": str(folder / "photos"), "masks": None, "classes": None})
        said: list[str] = []
        manifest = run_stage(find_job(settings, "index"), "index", compute_shards, said.append).manifest
        assert IndexSummary.of(manifest).refused == 123
        assert len(said) == len(manifest.warnings) == 101
        assert said[-1] == manifest.warnings[-1] == "and 23 more"
        run_stages(settings)
        page = find_job(settings).checkpoint("report").read_file("report.html").decode()
        assert '"file": "000.png"' in page
        assert '"file": "002.png"' not in page
        assert "121 more" in page


def test_a_photograph_of_no_region_has_no_row() -> None:
    """A table of nothing can be taken from and joined."""
    none = np.zeros(0, dtype=np.int64)
    nothing = Regions(none, none, none, np.zeros(0, dtype=bool), np.zeros((0, 4), np.float32))
    assert nothing.take(np.zeros(0, dtype=np.int64)).embedding.shape == (0, 4)
    assert nothing.embedded.shape == (0,)


def test_pictures_of_a_run_are_those_of_the_data_set(copy: Settings) -> None:
    """The page of the tiny run, with a bank that is a sample, shows as many photographs as before."""
    results = run_stages(changed(copy, evaluate={"sampled_images": 2}))
    assert results["report"].manifest.summary["photographs"] == 3


def test_what_all_shards_share_is_read_once(embedded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the network, and the assignments of a shard."""
    read: list[str] = []
    read_file = Checkpoint.read_file

    def noted_file(checkpoint: Checkpoint, name: str) -> bytes:
        read.append(name)
        return read_file(checkpoint, name)

    monkeypatch.setattr(Checkpoint, "read_file", noted_file)
    job = find_job(embedded)
    _load_network.cache_clear()
    for shard in range(4):
        STAGES["segment"].compute_shard(job, job.checkpoint("segment").require(), shard)
    assert read == ["dcn.safetensors"]
    spans: list[tuple[int, int]] = []
    rows = ArrayReader.rows

    def noted_rows(reader: ArrayReader, start: int, stop: int) -> np.ndarray:
        spans.append((start, stop))
        return rows(reader, start, stop)

    monkeypatch.setattr(ArrayReader, "rows", noted_rows)
    manifest = job.checkpoint("embed").require()
    found = STAGES["embed"].compute_shard(job, manifest, 1).arrays["embedding"]
    assert set(spans) == {(4, 8)}
    np.testing.assert_array_equal(found, job.checkpoint("embed").array("embedding").rows(4, 8))
