"""A run stops at a damaged checkpoint, ``verify`` names it, and a run after its repair computes it again."""

import json
import os
import re
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from torch import Tensor

from flows.errors import describe_error
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.library import load
from flows.settings import Settings
from storage import CheckpointDamagedError, StorageError, find_damage
from tests.flows.cli.workspace_command import REPAIR, checkpoints, dcn, flip, folder, times, truncate
from tests.flows.helpers import STAGES, RunCommand, changed, digests, run_stages


@pytest.mark.parametrize(
    ("damaged", "file", "damage", "reader", "place"),
    [
        ("extract", "arrays/tokens/c/1/0/0", flip, "train", "shard 1, array tokens"),
        ("extract", "arrays/tokens/c/1/0/0", truncate, "train", "shard 1, array tokens"),
        ("extract", "arrays/attention/c/2/0/0", Path.unlink, "segment", "shard 2, array attention"),
        ("extract", "arrays/tokens/zarr.json", truncate, "train", "array tokens"),
        ("segment", "arrays/area/c/3/0", flip, "embed", "shard 3, array area"),
        ("embed", "arrays/embedding/c/0/0/0", Path.unlink, "evaluate", "shard 0, array embedding"),
        ("embed_truth", "arrays/embedding/c/0/0/0", flip, "evaluate", "shard 0, array embedding"),
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


def test_dependents_of_a_repaired_checkpoint_stay_when_it_is_unchanged(
    finished: Settings, copy: Settings
) -> None:
    flip(folder(find_job(copy).checkpoint("extract")) / "arrays" / "tokens" / "c" / "1" / "0" / "0")
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    results = run_stages(copy)
    assert [stage for stage, result in results.items() if not result.reused] == ["extract"]
    assert results["extract"].warnings == ()
    assert digests(copy) == digests(finished)


def test_dependents_of_a_repaired_checkpoint_are_deleted_when_it_changed(
    finished: Settings, copy: Settings, photograph_folder: Path, tmp_path: Path
) -> None:
    """The photograph changed but kept its size and modification time; only the second extraction notices."""
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
    assert [stage for stage, result in results.items() if result.reused] == ["index", "embed_truth"]
    warnings = "\n".join(results["extract"].warnings)
    assert "left/scene 01.png was left out: it was changed after it was indexed" in warnings
    for stage in set(STAGES[2:]) - {"embed_truth"}:
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


def test_a_damaged_model_is_refused(copy: Settings, tmp_path: Path) -> None:
    checkpoint = find_job(copy).checkpoint("train")
    shutil.copytree(folder(checkpoint), tmp_path / "copied")
    assert load(folder(checkpoint)).num_regions == load(tmp_path / "copied").num_regions == 3
    flip(folder(checkpoint) / "files" / "dcn.safetensors")
    for source in (folder(checkpoint), copy.workspace):
        with pytest.raises(CheckpointDamagedError, match=r"dcn.safetensors has digest "):
            load(source)


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
    assert "0 of 8 checkpoints are damaged" in result.stdout
    assert "of 8, written by an earlier version, only arrays and records could be compared" in result.stdout
    find_job(copy).checkpoint("report").delete()
    find_job(copy).checkpoint("embed").delete()
    run_stages(copy)
    assert digests(copy) == digests(finished)
    flip(folder(find_job(copy).checkpoint("segment")) / "arrays" / "area" / "c" / "1" / "0")
    assert dcn("verify", "--workspace", copy.workspace, "--repair").exit_code == 0
    run_stages(copy)
    assert digests(copy) == digests(finished)
