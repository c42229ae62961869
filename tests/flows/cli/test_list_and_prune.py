"""``dcn workspace list`` and ``prune``: all checkpoints of a workspace, and those that are needed."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.execution.plan import find_job
from flows.settings import Settings
from storage import ArraySpec, Manifest, Workspace
from storage.stores import open_store
from tests.flows.cli.workspace_command import age, checkpoints, dcn, folder, listed
from tests.flows.helpers import STAGES, changed, digests, photograph_folder_of, run_stages


def test_list_shows_every_checkpoint_and_who_needs_it(copy: Settings, config: Path) -> None:
    job = find_job(copy)
    other = changed(copy, train={"seed": 7})
    run_stages(other, "segment")
    begun = find_job(other).checkpoint("segment")
    begun.forget(begun.require(), [1, 2], [])
    age(job.checkpoint("extract"), 5 * 60)
    result = dcn("list", "--workspace", copy.workspace)
    read_by = listed(result)
    assert len(read_by) == len(STAGES) + 2
    assert read_by[f"train/{job.keys['train']}"] == "report, segment"
    assert read_by[f"train/{find_job(other).keys['train']}"] == "segment"
    assert read_by[f"extract/{job.keys['extract']}"] == "embed, evaluate, report, segment x 2, train x 2"
    assert read_by[f"report/{job.keys['report']}"] == ""
    assert re.search(rf"segment +{begun.key} +begun +6/14 ", result.stdout)
    assert re.search(rf"extract +{job.keys['extract']} +complete +14 +0.\d MB +\d min ago", result.stdout)

    needed = listed(dcn("list", config))
    assert {name for name, users in needed.items() if users == "" } == {
        f"{stage}/{find_job(other).keys[stage]}" for stage in ("train", "segment")
    }  # fmt: skip
    assert set(needed.values()) == {"", str(config)}
    first, second = listed(dcn("list", config, config)), listed(dcn("list", config, "--set", "train.seed=7"))
    assert first == needed
    assert second[f"train/{job.keys['train']}"] == ""


class TestPrune:
    """Prune deletes checkpoints that no configuration needs, and leaves all others unchanged."""

    @pytest.fixture
    def other(self, copy: Settings) -> Settings:
        """The same pipeline with another seed in the same workspace, complete up to ``segment``."""
        other = changed(copy, train={"seed": 7})
        run_stages(other, "segment")
        return other

    def test_it_only_shows_and_deletes_with_yes(self, copy: Settings, config: Path, other: Settings) -> None:
        gone = [find_job(other).checkpoint(stage) for stage in ("train", "segment")]
        expected = digests(copy)
        shown = dcn("prune", config)
        assert shown.exit_code == 0
        assert set(listed(shown)) == {f"{checkpoint.stage}/{checkpoint.key}" for checkpoint in gone}
        assert re.search(r"2 checkpoints, \d+\.\d MB, of 10 can be deleted; --yes deletes them", shown.stdout)
        assert all(folder(checkpoint).exists() for checkpoint in gone)
        deleted = dcn("prune", config, "--yes")
        assert re.search(r"2 checkpoints, \d+\.\d MB, of 10 deleted", deleted.stdout)
        assert not any(folder(checkpoint).exists() for checkpoint in gone)
        assert digests(copy) == expected
        assert all(result.reused for result in run_stages(copy).values())
        assert "0 checkpoints, 0.0 MB, of 8 can be deleted\n" in dcn("prune", config).stdout

    def test_the_checkpoints_of_several_configurations_stay(
        self, copy: Settings, config: Path, other: Settings, tmp_path: Path
    ) -> None:
        second = tmp_path / "second.yaml"
        second.write_text(yaml.safe_dump(other.model_dump(mode="json")))
        assert "0 checkpoints, 0.0 MB, of 10 deleted" in dcn("prune", config, second, "--yes").stdout
        assert dcn("prune", second, "--yes").exit_code == 0
        assert set(checkpoints(copy)) == {"index", "extract", "train", "segment", "embed_truth"}
        assert all(result.reused for result in run_stages(other, "segment").values())

    def test_the_checkpoints_of_a_comparison_stay(self, copy: Settings, config: Path) -> None:
        from flows.compare.page import write_comparison
        from flows.compare.variants import segmenter_variants

        compared = changed(copy, compare={"segmenters": ["dcn", "kmeans"], "num_regions": [2]})
        config.write_text(yaml.safe_dump(compared.model_dump(mode="json")))
        variants = segmenter_variants(compared)
        for variant in variants:
            run_stages(variant.settings, "evaluate")
        page, _ = write_comparison(variants)
        assert "0 checkpoints, 0.0 MB, of" in dcn("prune", config, "--yes").stdout
        assert page.require().complete
        assert dcn("prune", config, "--yes", "--set", "compare.segmenters=[dcn]").exit_code == 0
        assert not folder(page).exists()

    def test_without_a_configuration_it_asks_for_one(self, copy: Settings, config: Path) -> None:
        refused = dcn("prune", "--workspace", copy.workspace, "--yes")
        assert refused.exit_code == 1
        assert "name the configurations whose checkpoints to keep, or give --all" in refused.stderr
        assert dcn("prune", config, "--all", "--yes").exit_code == 1
        assert set(checkpoints(copy)) == set(STAGES)
        assert "8 checkpoints" in dcn("prune", "--all", "--workspace", copy.workspace, "--yes").stdout
        assert checkpoints(copy) == {}

    def test_nothing_is_deleted_while_the_data_set_is_not_indexed(
        self, copy: Settings, config: Path, other: Settings, tmp_path: Path
    ) -> None:
        """After ``touch`` the features stay valid, but only a new index tells which they are."""
        shutil.copytree(photograph_folder_of(copy), tmp_path / "photos")
        options = ["--set", f"dataset.root={tmp_path / 'photos'}"]
        for path in (tmp_path / "photos").rglob("*.png"):
            os.utime(path)
        refused = dcn("prune", config, "--yes", *options)
        assert refused.exit_code == 1
        assert re.search(
            r"is not indexed in the workspace \S+ in its present state.*; run dcn index .* first",
            refused.stderr,
        )
        assert len(list(Workspace(copy.workspace).checkpoints())) == 10
        assert (
            f"is not indexed in the workspace {copy.workspace} in its" in dcn("list", config, *options).stderr
        )

    def test_a_checkpoint_that_is_being_written_and_its_inputs_stay(
        self, copy: Settings, config: Path, other: Settings
    ) -> None:
        begun = find_job(other).checkpoint("segment")
        begun.forget(begun.require(), [1], [])
        result = dcn("prune", config, "--yes")
        assert f"segment/{begun.key} is being written (the last time 0 min ago); it stays" in result.stdout
        assert "0 checkpoints, 0.0 MB, of 10 deleted" in result.stdout
        run_stages(other, "segment")
        begun.forget(begun.require(), [1], [])
        age(begun, 2 * 3600)
        result = dcn("prune", config, "--yes")
        assert "being written" not in result.stdout
        assert "2 checkpoints" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--workspace", "nowhere"], "there is no workspace "),
        (["verify", "--workspace", "nowhere"], "there is no workspace "),
        (["verify", "smaple"], "there is no configuration smaple"),
        (["list", "--set", "train.seed=1"], "--set train.seed=1 needs a configuration to change"),
    ],
)
def test_a_mistake_gives_a_message(arguments: list[str], message: str) -> None:
    result = dcn(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_configurations_of_several_workspaces_are_refused(
    copy: Settings, config: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second.yaml"
    second.write_text(yaml.safe_dump(changed(copy, workspace=str(tmp_path / "v")).model_dump(mode="json")))
    result = dcn("list", config, second)
    assert result.exit_code == 1
    assert "the configurations name several workspaces" in result.stderr
    assert dcn("list", config, second, "--workspace", copy.workspace).exit_code == 0


def test_list_verify_repair_and_prune_work_on_an_object_store(s3: str) -> None:
    location = f"{s3}/house/workspace"
    spec = ArraySpec("area", (3,), "int64", ("region",))
    rows = np.arange(30).reshape(10, 3)

    def write(key: str) -> Manifest:
        checkpoint = Workspace(location).checkpoint("segment", key)
        manifest = checkpoint.begin(Manifest("segment", key, {}, {}, 10, 4, (spec,)))
        for shard in checkpoint.missing_shards(manifest):
            start, stop = manifest.shard_range(shard)
            checkpoint.write_shard(manifest, shard, {"area": rows[start:stop]}, {}, 0.0)
        checkpoint.write_file("results.json", b"{}")
        return checkpoint.finish({}, 0.0)

    first, _ = write("a" * 32), write("b" * 32)
    assert list(listed(dcn("list", "--workspace", location))) == [f"segment/{key * 32}" for key in "ab"]
    assert dcn("verify", "--workspace", location).exit_code == 0
    store = open_store(f"{location}/segment/{'a' * 32}")
    store.write("arrays/area/c/2/0", b"no shard")
    store.delete("files/results.json")
    damaged = dcn("verify", "--workspace", location)
    assert damaged.exit_code == 1
    for place in ("shard 2, array area", "file results.json"):
        assert f"damaged segment/{'a' * 32}, {place}: " in damaged.stdout
    assert dcn("verify", "--workspace", location, "--repair").exit_code == 0
    assert Workspace(location).checkpoint("segment", "a" * 32).missing_shards(first) == [2]
    assert write("a" * 32) == first
    assert dcn("verify", "--workspace", location).exit_code == 0
    assert "2 checkpoints" in dcn("prune", "--all", "--yes", "--workspace", location).stdout
    assert list(open_store(location).list()) == []
