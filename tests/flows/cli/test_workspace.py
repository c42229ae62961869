"""``dcn workspace`` lists, verifies, repairs and prunes; damage is named and computed again."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import yaml
from torch import Tensor
from typer.testing import CliRunner, Result

from flows.cli.app import app
from flows.cli.predict import predict
from flows.errors import describe_error
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.settings import Settings
from storage import (
    ArraySpec,
    Checkpoint,
    CheckpointDamagedError,
    Manifest,
    StorageError,
    Workspace,
    find_damage,
)
from storage.stores.store import open_store
from tests.flows.helpers import (
    STAGES,
    RunCommand,
    changed,
    command,
    digests,
    photograph_folder_of,
    run_stages,
)

REPAIR = "dcn workspace verify --repair"


@pytest.fixture
def config(copy: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of the copy, in the current folder of the test."""
    monkeypatch.chdir(tmp_path)
    path = Path("[red] tiny.yaml")
    path.write_text(yaml.safe_dump(copy.model_dump(mode="json")))
    return path


def dcn(*arguments: object) -> Result:
    """Run ``dcn workspace`` with these arguments in this process. An exception fails the test."""
    result = CliRunner().invoke(app, ["workspace", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def folder(checkpoint: Checkpoint) -> Path:
    return Path(checkpoint.location)


def flip(path: Path, place: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def age(checkpoint: Checkpoint, seconds: float) -> None:
    """Set the modification time of all its files to so many seconds ago."""
    then = time.time() - seconds
    for path in folder(checkpoint).rglob("*"):
        os.utime(path, (then, then))


def checkpoints(settings: Settings) -> dict[str, Checkpoint]:
    return {checkpoint.stage: checkpoint for checkpoint in Workspace(settings.workspace).checkpoints()}


def times(settings: Settings) -> dict[Path, int]:
    """Modification times of the records and the manifests, in nanoseconds."""
    files = [
        *Path(settings.workspace).glob("*/*/shards/*"),
        *Path(settings.workspace).glob("*/*/manifest.json"),
    ]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.parametrize(
    ("damaged", "file", "damage", "reader", "place"),
    [
        ("extract", "arrays/tokens/c/1/0/0", flip, "train", "shard 1, array tokens"),
        ("extract", "arrays/tokens/c/1/0/0", truncate, "train", "shard 1, array tokens"),
        ("extract", "arrays/attention/c/2/0/0", Path.unlink, "segment", "shard 2, array attention"),
        ("extract", "arrays/tokens/zarr.json", truncate, "train", "array tokens"),
        ("segment", "arrays/area/c/3/0", flip, "embed", "shard 3, array area"),
        ("embed", "arrays/embedding/c/0/0/0", Path.unlink, "evaluate", "shard 0, array embedding"),
        ("index", "shards/000000.json", flip, "extract", "shard 0"),
        ("index", "shards/000000.json", Path.unlink, "extract", "shard 0"),
        ("index", "manifest.json", truncate, "extract", "manifest"),
        ("extract", "manifest.json", flip, "train", "manifest"),
        ("train", "files/dcn.safetensors", flip, "segment", "file dcn.safetensors"),
        ("train", "files/dcn.safetensors", Path.unlink, "segment", "file dcn.safetensors"),
        ("train", "files/curve.json", flip, "report", "file curve.json"),
        ("evaluate", "files/semantic.npy", flip, "report", "file semantic.npy"),
        ("evaluate", "manifest.json", flip, "report", "manifest"),
    ],
)
def test_a_run_stops_at_damage_and_after_repair_computes_the_same(
    finished: Settings,
    copy: Settings,
    damaged: str,
    file: str,
    damage: Callable[[Path], None],
    reader: str,
    place: str,
) -> None:
    job = find_job(copy)
    checkpoint = job.checkpoint(damaged)
    later = STAGES[STAGES.index(reader) :]
    for stage in later:
        job.checkpoint(stage).delete()
    before = times(copy)
    damage(folder(checkpoint) / file)
    shard = re.search(r"shard \d+", place)
    with pytest.raises(CheckpointDamagedError, match=f"{damaged}/{checkpoint.key}") as caught:
        run_stages(copy, reader)
    assert shard is None or shard[0] in str(caught.value)
    assert REPAIR in describe_error(caught.value)

    found = dcn("verify", "--workspace", copy.workspace)
    assert found.exit_code == 1
    assert f"damaged {damaged}/{checkpoint.key}, {place}: " in found.stdout
    assert len(re.findall("^damaged ", found.stdout, re.MULTILINE)) == 1
    assert "--repair" in found.stdout
    repaired = dcn("verify", "--workspace", copy.workspace, "--repair")
    assert repaired.exit_code == 0, repaired.output
    if checkpoints(copy):  # repair deletes an index without a manifest, and then nothing may be left
        assert dcn("verify", "--workspace", copy.workspace).exit_code == 0

    results = run_stages(copy)
    assert digests(copy) == digests(finished)
    again = {stage for stage, result in results.items() if not result.reused}
    assert again == {*later, damaged} - ({damaged} if file.endswith("zarr.json") else set())
    if shard is not None:  # one shard of the damaged checkpoint is written again, and nothing else
        after = times(copy)
        written = {path for path in before if path.exists() and after[path] != before[path]}
        record = folder(checkpoint) / "shards" / f"{int(shard[0].split()[1]):06d}.json"
        assert {path for path in written if damaged in path.parts} <= {
            record,
            folder(checkpoint) / "manifest.json",
        }
    assert dcn("verify", "--workspace", copy.workspace).exit_code == 0


def test_what_was_made_of_a_damaged_checkpoint_stays_when_the_same_is_computed_again(
    finished: Settings, copy: Settings
) -> None:
    flip(folder(find_job(copy).checkpoint("extract")) / "arrays" / "tokens" / "c" / "1" / "0" / "0")
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    results = run_stages(copy)
    assert [stage for stage, result in results.items() if not result.reused] == ["extract"]
    assert results["extract"].warnings == ()
    assert digests(copy) == digests(finished)


def test_what_was_made_of_it_goes_when_something_else_is_computed(
    finished: Settings, copy: Settings, photograph_folder: Path, tmp_path: Path
) -> None:
    """A photograph that is not what it was, although its size and its time are, is left out the second time."""
    shutil.copytree(photograph_folder, tmp_path / "data")
    folders = {name: str(tmp_path / "data" / file) for name, file in
               (("root", "photos"), ("masks", "masks"), ("classes", "classes.txt"))}  # fmt: skip
    settings = changed(copy, dataset=folders)
    run_stages(settings)
    photograph = tmp_path / "data" / "photos" / "left" / "scene 01.png"
    status = photograph.stat()
    flip(photograph, -20)
    os.utime(photograph, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = find_job(settings).keys
    (folder(find_job(settings).checkpoint("extract")) / "arrays" / "present" / "c" / "0").unlink()
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    results = run_stages(settings)
    assert find_job(settings).keys == before
    assert [stage for stage, result in results.items() if result.reused] == ["index"]
    warnings = "\n".join(results["extract"].warnings)
    assert "left/scene 01.png was left out: it was changed after it was indexed" in warnings
    for stage in STAGES[2:]:
        assert f"so {stage}/{before[stage]}, which was made of it, is deleted" in warnings
    assert digests(settings) != digests(finished)
    assert all(result.reused for result in run_stages(settings).values())


def test_shards_verify_the_files_that_their_stage_prepared(finished: Settings, copy: Settings) -> None:
    """Each range of shards reads those files, maybe on another machine."""
    pixels = changed(copy, segment={"segmenter": {"name": "pixels", "num_clusters": 3}})
    run_stages(pixels, "segment")
    for settings, stage, file in ((pixels, "segment", "fitted.npy"), (copy, "evaluate", "attainable.npy")):
        job = find_job(settings)
        checkpoint = job.checkpoint(stage)
        expected = checkpoint.require().content
        checkpoint.forget(checkpoint.require(), [0], [])
        flip(folder(checkpoint) / "files" / file)
        with pytest.raises(CheckpointDamagedError, match=rf"{checkpoint.key}/files/{file} has digest "):
            compute_shards(job, stage, [0])
        assert f"file {file}: " in dcn("verify", "--workspace", copy.workspace).stdout
        assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
        assert run_stage(job, stage, compute_shards, lambda _: None).manifest.content == expected
        assert not [damage for part in find_damage(checkpoint) for damage in part]


def test_training_does_not_continue_from_a_damaged_state(
    finished: Settings, copy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dcn.network import DynamicClusteringNetwork

    checkpoint = find_job(copy).checkpoint("train")
    checkpoint.delete()
    forward, calls = DynamicClusteringNetwork.forward, count(1)

    def fail_late(self: DynamicClusteringNetwork, tokens: Tensor) -> Tensor:
        if next(calls) == 9:
            raise RuntimeError("the power went out")
        return forward(self, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(DynamicClusteringNetwork, "forward", fail_late)
        with pytest.raises(RuntimeError, match="power"):
            run_stages(copy, "train")
    flip(folder(checkpoint) / "files" / "state.safetensors")
    with pytest.raises(CheckpointDamagedError, match=r"state.safetensors has digest "):
        run_stages(copy, "train")
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    run_stages(copy)
    assert digests(copy) == digests(finished)


def test_predict_refuses_a_damaged_model(copy: Settings, tmp_path: Path) -> None:
    checkpoint = find_job(copy).checkpoint("train")
    photograph = next(photograph_folder_of(copy).rglob("*.png"))
    assert len(list(predict([photograph], folder(checkpoint), tmp_path / "out"))) == 1
    shutil.copytree(folder(checkpoint), tmp_path / "copied")
    assert len(list(predict([photograph], tmp_path / "copied", tmp_path / "out"))) == 1
    flip(folder(checkpoint) / "files" / "dcn.safetensors")
    with pytest.raises(CheckpointDamagedError, match=r"dcn.safetensors has digest "):
        list(predict([photograph], folder(checkpoint), tmp_path / "out"))


@pytest.fixture
def process(prefect_server: dict[str, str]) -> RunCommand:
    """Runs the command line in a process of its own. A traceback fails the test."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            command(*arguments), env=prefect_server, capture_output=True, text=True, timeout=600
        )
        assert "Traceback" not in result.stderr + result.stdout
        return result

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("extract/*/arrays/tokens/c/1/0/0", "shard 1"),
        ("index/*/shards/000000.json", "shard 0"),
        ("train/*/files/dcn.safetensors", "dcn.safetensors"),
        ("extract/*/manifest.json", "manifest.json"),
    ],
)
def test_the_run_command_names_damage_and_finishes_after_repair(
    finished: Settings, copy: Settings, config: Path, process: RunCommand, file: str, place: str
) -> None:
    for stage in STAGES[2:] if "train" not in file else STAGES[3:]:
        find_job(copy).checkpoint(stage).delete()
    (path,) = Path(copy.workspace).glob(file)
    flip(path)
    stopped = process("run", config)
    assert stopped.returncode == 1
    assert place in stopped.stderr
    assert str(path.relative_to(copy.workspace).parent.parts[1]) in stopped.stderr
    assert REPAIR in stopped.stderr
    assert dcn("verify", "--workspace", copy.workspace).exit_code == 1
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    run_stages(copy)
    assert digests(copy) == digests(finished)


@pytest.mark.slow
def test_the_verify_command_shows_progress_and_repairs(copy: Settings, process: RunCommand) -> None:
    flip(folder(find_job(copy).checkpoint("extract")) / "arrays" / "tokens" / "c" / "1" / "0" / "0")
    verified = process("workspace", "verify", "--workspace", copy.workspace)
    assert verified.returncode == 1
    assert "shard 1, array tokens" in verified.stdout
    assert re.search(r"extract \d+/\d+", verified.stderr)
    assert process("workspace", "verify", "--workspace", copy.workspace, "--repair").returncode == 0


def test_verify_of_a_configuration_reads_only_its_checkpoints(copy: Settings, config: Path) -> None:
    other = changed(copy, train={"seed": 7})
    run_stages(other, "train")
    flip(folder(find_job(other).checkpoint("train")) / "files" / "dcn.safetensors")
    assert dcn("verify", config).exit_code == 0
    assert dcn("verify", config, "--set", "train.seed=7").exit_code == 1
    assert dcn("verify", "--workspace", copy.workspace).exit_code == 1


def test_a_checkpoint_of_a_newer_version_is_named_and_never_changed(copy: Settings) -> None:
    path = folder(find_job(copy).checkpoint("train")) / "manifest.json"
    newer = json.dumps({**json.loads(path.read_text()), "schema": 99}).encode()
    path.write_bytes(newer)
    for options in ([], ["--repair"]):
        result = dcn("verify", "--workspace", copy.workspace, *options)
        assert result.exit_code == 1
        assert "not read " in result.stdout
        assert "has schema version 99; this software reads up to version 2" in result.stdout
    assert path.read_bytes() == newer
    assert re.search(r"train +\w{32} +newer", dcn("list", "--workspace", copy.workspace).stdout)
    with pytest.raises(StorageError, match="schema version 99"):
        run_stages(copy)


def test_a_checkpoint_of_an_earlier_version_is_used_and_verified_in_part(
    finished: Settings, copy: Settings
) -> None:
    """Version 1 recorded no digests of files, manifests and inputs."""
    for checkpoint in checkpoints(copy).values():
        path = folder(checkpoint) / "manifest.json"
        content = json.loads(path.read_text())
        for name in ("digest", "content", "files", "made_of"):
            del content[name]
        path.write_text(json.dumps({**content, "schema": 1}))
        shutil.rmtree(folder(checkpoint) / "digests", ignore_errors=True)
    assert all(result.reused for result in run_stages(copy).values())
    result = dcn("verify", "--workspace", copy.workspace)
    assert result.exit_code == 0
    assert "0 of 7 checkpoints are damaged" in result.stdout
    assert "of 7, written by an earlier version, only arrays and records could be compared" in result.stdout
    find_job(copy).checkpoint("report").delete()
    find_job(copy).checkpoint("embed").delete()
    run_stages(copy)
    assert digests(copy) == digests(finished)
    flip(folder(find_job(copy).checkpoint("segment")) / "arrays" / "area" / "c" / "1" / "0")
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    run_stages(copy)
    assert digests(copy) == digests(finished)


def listed(result: Result) -> dict[str, str]:
    """The last column of a listing, by stage and key."""
    assert result.exit_code == 0, result.output
    rows = re.findall(r"^ *(\w+) +(\w{32}) .* ago *(.*?) *$", result.stdout, flags=re.MULTILINE)
    return {f"{stage}/{key}": users for stage, key, users in rows}


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
        assert re.search(r"2 checkpoints, \d+\.\d MB, of 9 can go; --yes deletes them", shown.stdout)
        assert all(folder(checkpoint).exists() for checkpoint in gone)
        deleted = dcn("prune", config, "--yes")
        assert re.search(r"2 checkpoints, \d+\.\d MB, of 9 deleted", deleted.stdout)
        assert not any(folder(checkpoint).exists() for checkpoint in gone)
        assert digests(copy) == expected
        assert all(result.reused for result in run_stages(copy).values())
        assert "0 checkpoints, 0.0 MB, of 7 can go\n" in dcn("prune", config).stdout

    def test_the_checkpoints_of_several_configurations_stay(
        self, copy: Settings, config: Path, other: Settings, tmp_path: Path
    ) -> None:
        second = tmp_path / "second.yaml"
        second.write_text(yaml.safe_dump(other.model_dump(mode="json")))
        assert "0 checkpoints, 0.0 MB, of 9 deleted" in dcn("prune", config, second, "--yes").stdout
        assert dcn("prune", second, "--yes").exit_code == 0
        assert set(checkpoints(copy)) == {"index", "extract", "train", "segment"}
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
        assert "name the configurations whose checkpoints are to stay, or say --all" in refused.stderr
        assert dcn("prune", config, "--all", "--yes").exit_code == 1
        assert set(checkpoints(copy)) == set(STAGES)
        assert "7 checkpoints" in dcn("prune", "--all", "--workspace", copy.workspace, "--yes").stdout
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
            r"is not indexed in this workspace as it is now.*; dcn index .* first", refused.stderr
        )
        assert len(list(Workspace(copy.workspace).checkpoints())) == 9
        assert "is not indexed in this workspace as it is now" in dcn("list", config, *options).stderr

    def test_a_checkpoint_that_is_being_written_and_its_inputs_stay(
        self, copy: Settings, config: Path, other: Settings
    ) -> None:
        begun = find_job(other).checkpoint("segment")
        begun.forget(begun.require(), [1], [])
        result = dcn("prune", config, "--yes")
        assert f"segment/{begun.key} is being written (the last time 0 min ago); it stays" in result.stdout
        assert "0 checkpoints, 0.0 MB, of 9 deleted" in result.stdout
        run_stages(other, "segment")
        begun.forget(begun.require(), [1], [])
        age(begun, 2 * 3600)
        result = dcn("prune", config, "--yes")
        assert "being written" not in result.stdout
        assert "2 checkpoints" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--workspace", "nowhere"], "there are no checkpoints in "),
        (["verify", "--workspace", "nowhere"], "there are no checkpoints in "),
        (["verify", "smaple"], "there is no configuration smaple"),
        (["list", "--set", "train.seed=1"], "--set train.seed=1 changes a configuration, and none is given"),
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
