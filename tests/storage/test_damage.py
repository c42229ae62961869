"""Damage of every kind is found, named, and forgotten; nothing that is read differs from what was written."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import (
    ArraySpec,
    Checkpoint,
    CheckpointDamagedError,
    Damage,
    Manifest,
    StorageError,
    Workspace,
    count_parts,
    find_damage,
    repair,
)

KEY, OTHER = "0" * 32, "f" * 32
SPECS = (ArraySpec("tokens", (6, 4), "float16", ("patch", "channel")), ArraySpec("present", (), "bool", ()))


def values(start: int, stop: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(start)
    return {
        "tokens": rng.normal(size=(stop - start, 6, 4)).astype(np.float16),
        "present": rng.random(stop - start) < 0.5,
    }


def write(checkpoint: Checkpoint) -> Manifest:
    """Begin or continue it, and bring it to its end."""
    manifest = checkpoint.begin(Manifest(checkpoint.stage, checkpoint.key, {"a": 1}, {}, 10, 4, SPECS))
    for shard in checkpoint.missing_shards(manifest):
        checkpoint.write_shard(manifest, shard, values(*manifest.shard_range(shard)), {"note": "é"}, 0.5)
    checkpoint.write_file("results.json", b'{"miou": 0.5}')
    return checkpoint.finish({"images": 10, "modularity": 0.25}, 1.0, ["a warning"])


def folder(checkpoint: Checkpoint) -> Path:
    return Path(checkpoint.location)


def reopened(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint, for an object that has read nothing of it."""
    return Workspace(folder(checkpoint).parent.parent).checkpoint(checkpoint.stage, checkpoint.key)


def damages(checkpoint: Checkpoint) -> list[Damage]:
    return [damage for part in find_damage(checkpoint) for damage in part]


def flips(path: Path) -> Iterator[None]:
    """The file with each of its bits flipped in turn; in the end as it was."""
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            yield
    path.write_bytes(content)


@pytest.fixture
def complete(tmp_path: Path) -> Checkpoint:
    checkpoint = Workspace(tmp_path).checkpoint("extract", KEY)
    write(checkpoint)
    return checkpoint


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "shards/000001.json",
        "files/results.json",
        "arrays/tokens/c/1/0/0",
        "arrays/present/c/1",
        "arrays/tokens/zarr.json",
        "arrays/present/zarr.json",
    ],
)
def test_no_bit_can_flip_without_an_error_or_without_effect(complete: Checkpoint, name: str) -> None:
    """Every bit of every file, one after the other: what is read is an error or what was written."""

    def everything() -> list[object]:
        checkpoint = reopened(complete)
        manifest = checkpoint.require()
        arrays = [checkpoint.array(spec.name).rows(0, 10).tobytes() for spec in manifest.arrays]
        return [manifest, arrays, list(checkpoint.records(manifest)), checkpoint.read_file("results.json")]

    expected, errors = everything(), 0
    for _ in flips(folder(complete) / name):
        try:
            assert everything() == expected
        except StorageError:
            errors += 1
    assert errors > 100
    assert everything() == expected


@pytest.mark.parametrize(
    ("file", "content", "place"),
    [
        ("arrays/tokens/c/1/0/0", b"", "shard 1, array tokens"),
        ("arrays/present/c/2", None, "shard 2, array present"),
        ("arrays/tokens/c/2/0/0", b"not a shard", "shard 2, array tokens"),
        ("shards/000000.json", None, "shard 0"),
        ("shards/000002.json", b"{}", "shard 2"),
        ("files/results.json", None, "file results.json"),
        ("files/results.json", b'{"miou": 0.6}', "file results.json"),
        ("arrays/tokens/zarr.json", b"{", "array tokens"),
        ("arrays/tokens/zarr.json", None, "array tokens"),
        ("manifest.json", b"{", "manifest"),
    ],
)
def test_damage_is_named_forgotten_and_computed_again(
    complete: Checkpoint, file: str, content: bytes | None, place: str
) -> None:
    manifest, digests = complete.require(), complete.digests()
    assert damages(complete) == []
    assert len(list(find_damage(complete))) == count_parts(complete) == 5
    path = folder(complete) / file
    path.unlink() if content is None else path.write_bytes(content)
    (found,) = damages(complete)
    assert found.place == f"extract/{KEY}, {place}"
    repair(complete, [found])
    assert damages(complete) == []
    if found.shard is not None:
        assert complete.missing_shards(manifest) == [found.shard]
    again = write(complete)
    assert complete.digests() == digests
    assert again.content == manifest.content
    assert damages(complete) == []


def test_a_whole_shard_of_other_values_is_found(complete: Checkpoint) -> None:
    """Its checksums are right, its digest is not."""
    manifest = complete.require()
    record = (folder(complete) / "shards" / "000001.json").read_bytes()
    complete.write_shard(manifest, 1, values(0, 4), {}, 0.0)
    (folder(complete) / "shards" / "000001.json").write_bytes(record)
    assert [found.place for found in damages(complete)] == [
        f"extract/{KEY}, shard 1, array tokens",
        f"extract/{KEY}, shard 1, array present",
    ]


def test_metadata_that_leave_out_the_end_of_every_row_are_refused(complete: Checkpoint) -> None:
    path = folder(complete) / "arrays" / "tokens" / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": [10, 6, 2]}))
    with pytest.raises(CheckpointDamagedError, match=r"say float16 \(10, 6, 2\) .* not float16 \(10, 6, 4\)"):
        complete.array("tokens")
    repair(complete, damages(complete))
    assert complete.require().complete  # the metadata follow from the manifest: nothing is computed again
    assert damages(complete) == []


def test_a_group_that_other_readers_cannot_open_is_written_again(complete: Checkpoint) -> None:
    path = folder(complete) / "arrays" / "zarr.json"
    content = path.read_bytes()
    for wrong in (b"", b"{}", content.replace(b"group", b"array"), None):
        path.unlink() if wrong is None else path.write_bytes(wrong)
        assert [found.array for found in damages(complete)] == ["tokens", "present"]
        repair(complete, damages(complete))
        assert path.read_bytes() == content
    assert damages(complete) == []


def test_damage_behind_damaged_metadata_is_forgotten_too(complete: Checkpoint) -> None:
    (folder(complete) / "arrays" / "tokens" / "zarr.json").write_bytes(b"")
    (folder(complete) / "arrays" / "tokens" / "c" / "2" / "0" / "0").unlink()
    repair(complete, damages(complete))
    assert complete.missing_shards(complete.require_begun()) == [2]


def test_an_error_names_all_damaged_shards(complete: Checkpoint) -> None:
    for shard in (0, 2):
        (folder(complete) / "arrays" / "tokens" / "c" / str(shard) / "0" / "0").unlink()
    reader = complete.array("tokens")
    assert reader.rows(4, 8).shape == (4, 6, 4)
    reads: list[Callable[[], object]] = [
        lambda: reader.rows(0, 10),
        lambda: reader.read_ahead([9, 4, 0, 9]).result(),
    ]
    for read in reads:
        with pytest.raises(
            CheckpointDamagedError, match=rf"{KEY}/arrays/tokens is .* in shards 0, 2: "
        ) as caught:
            read()
    # As it comes back from a worker in another process.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_too_many_open_files_are_no_damage(complete: Checkpoint) -> None:
    code = f"""
import os, resource
from pathlib import Path
from storage import CheckpointDamagedError, StorageError, Workspace
reader = Workspace(Path({str(folder(complete).parent.parent)!r})).checkpoint("extract", {KEY!r}).array("tokens")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
opened = []
try:
    while True:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    reader.rows(0, 4)
except StorageError as error:
    [os.close(file) for file in opened]
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("FileSystemError an array cannot be read: ")
    assert result.stdout.endswith("/arrays/tokens/c/0/0/0: Too many open files\n")


def fail_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int) -> None:
    """The process ends at the ``call``-th call of a function of the operating system."""
    real = getattr(os, name)
    calls: list[int] = []

    def function(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(os, name, function)


def killed(monkeypatch: pytest.MonkeyPatch, name: str, call: int, action: Callable[[], object]) -> bool:
    with monkeypatch.context() as patch:
        fail_at(patch, name, call)
        try:
            action()
        except KeyboardInterrupt:
            return True
    return False


@pytest.mark.parametrize("how", ["delete", "repair"])
def test_a_deletion_that_is_killed_leaves_what_the_next_run_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    workspace = Workspace(tmp_path)
    expected = write(workspace.checkpoint("extract", OTHER)).content
    for call in range(1, 100):
        checkpoint = workspace.checkpoint("extract", KEY)
        write(checkpoint)
        if how == "repair":
            (folder(checkpoint) / "arrays" / "tokens" / "c" / "1" / "0" / "0").unlink()
            (folder(checkpoint) / "files" / "results.json").write_bytes(b"")
        found = damages(checkpoint)
        action = checkpoint.delete if how == "delete" else lambda: repair(checkpoint, found)  # noqa: B023
        if not killed(monkeypatch, "unlink", call, action):
            break
        manifest = checkpoint.read_manifest()
        assert manifest is not None
        assert not manifest.complete
        if how == "repair":
            left = damages(checkpoint)
            assert {(damage.shard, damage.file) for damage in left} <= {(1, None), (None, "results.json")}
            repair(checkpoint, left)
        assert write(checkpoint).content == expected
        assert damages(checkpoint) == []
    assert 2 <= call < 100
    if how == "delete":
        assert not folder(checkpoint).exists()


def test_a_file_that_is_replaced_is_the_old_or_the_new_whenever_the_process_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Workspace(tmp_path).checkpoint("train", KEY)
    checkpoint.begin(Manifest("train", KEY, {}, {}, 0, 1))
    read, content = [], b"first"
    assert not checkpoint.has_file("state.safetensors")
    for call in (1, 2, 3, 1, 2, 3):
        if not checkpoint.has_file("state.safetensors"):
            checkpoint.write_file("state.safetensors", content)
        before, content = checkpoint.read_file("state.safetensors"), content + b"+"
        write = partial(checkpoint.write_file, "state.safetensors", content)
        assert killed(monkeypatch, "replace", call, write)
        read.append(checkpoint.read_file("state.safetensors") == content)
        assert read[-1] or checkpoint.read_file("state.safetensors") == before
        assert damages(checkpoint) == []
    assert read == [False, False, True] * 2
    checkpoint.delete_file("state.safetensors")
    assert not checkpoint.has_file("state.safetensors")
    assert checkpoint.finish({}, 0.0).files == {}


def test_what_was_made_of_another_content_is_found(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    content = write(workspace.checkpoint("extract", KEY)).content
    for stage, made_of in (
        ("train", {KEY: content}),
        ("segment", {KEY: "other"}),
        ("embed", {OTHER: "other"}),
        ("evaluate", {KEY: ""}),  # of a manifest of version 1 nobody knows
        ("report", {}),
    ):
        workspace.checkpoint(stage, OTHER).begin(Manifest(stage, OTHER, {}, {}, 0, 1, made_of=made_of))
    broken = workspace.checkpoint("language", OTHER)
    folder(broken).mkdir(parents=True)
    (folder(broken) / "manifest.json").write_bytes(b"{")
    assert [found.stage for found in workspace.made_of_other(KEY, content)] == ["segment"]


def test_checkpoints_are_listed_and_other_files_are_not(complete: Checkpoint, tmp_path: Path) -> None:
    for path in ("notes.txt", "extract/notes.txt", "Extract/x", f"extract/{KEY}.old", "extract/short"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).mkdir() if "." not in path else (tmp_path / path).write_text("")
    assert [(found.stage, found.key) for found in Workspace(tmp_path).checkpoints()] == [("extract", KEY)]
    assert list(Workspace(tmp_path / "nowhere").checkpoints()) == []


class TestVersions:
    """A manifest of a newer version is refused, one of version 1 is read, and neither is misread."""

    @staticmethod
    def as_version_1(checkpoint: Checkpoint) -> None:
        path = folder(checkpoint) / "manifest.json"
        content = json.loads(path.read_text())
        for name in ("digest", "content", "files", "made_of"):
            del content[name]
        path.write_text(json.dumps({**content, "schema": 1}))
        shutil.rmtree(folder(checkpoint) / "digests")

    def test_version_1_is_read(self, complete: Checkpoint) -> None:
        manifest = complete.require()
        self.as_version_1(complete)
        complete = reopened(complete)
        assert complete.require() == replace(manifest, content="", files={})
        assert complete.read_file("results.json") == b'{"miou": 0.5}'
        (folder(complete) / "arrays" / "tokens" / "c" / "1" / "0" / "0").unlink()
        repair(complete, damages(complete))
        assert write(complete) == replace(manifest, seconds=2.0)
        assert json.loads((folder(complete) / "manifest.json").read_text())["schema"] == 2

    @pytest.mark.parametrize("version", [3, 1000])
    def test_a_newer_version_is_refused_and_left_alone(self, complete: Checkpoint, version: int) -> None:
        path = folder(complete) / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema": version, "new": {}}))
        for read in (complete.require, lambda: complete.array("tokens"), lambda: damages(complete)):
            with pytest.raises(
                StorageError, match=f"has schema version {version}; this software reads up to version 2"
            ) as caught:
                read()
            assert not isinstance(caught.value, CheckpointDamagedError)
        with pytest.raises(StorageError, match="schema version"):
            write(complete)

    @pytest.mark.parametrize("version", [0, -1, "2", None, 1.5])
    def test_no_version_is_damage(self, complete: Checkpoint, version: object) -> None:
        path = folder(complete) / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema": version}))
        with pytest.raises(CheckpointDamagedError, match="there is no schema version"):
            complete.require()

    def test_version_1_with_what_only_later_versions_have_is_refused(self, complete: Checkpoint) -> None:
        path = folder(complete) / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 1}))
        with pytest.raises(CheckpointDamagedError, match="digest"):
            complete.require()
