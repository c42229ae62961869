"""Checkpoints on failing file systems: full, suddenly read-only, or unable to replace a file by renaming."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage import ArraySpec, Checkpoint, Manifest, StorageError, Workspace
from tests.servers import wait_until

KEY = "2" * 32
SPEC = ArraySpec("tokens", (200, 400), "float16", ("patch", "channel"))  # 160 kB a row
ROWS, SHARD_ROWS = 20, 4
MEBIBYTES = 8


def values(shard: int) -> np.ndarray:
    return np.random.default_rng(shard).normal(size=(SHARD_ROWS, *SPEC.row_shape)).astype(np.float16)


def fill(checkpoint: Checkpoint) -> Checkpoint:
    """Write the missing shards, and finish."""
    manifest = checkpoint.begin(Manifest("extract", KEY, {}, {}, ROWS, SHARD_ROWS, (SPEC,)))
    for shard in checkpoint.missing_shards(manifest):
        checkpoint.write_shard(manifest, shard, {"tokens": values(shard)}, {}, 0.0)
    checkpoint.finish({}, 0.0)
    return checkpoint


@pytest.fixture
def undisturbed(tmp_path: Path) -> Checkpoint:
    return fill(Workspace(tmp_path / "undisturbed").checkpoint("extract", KEY))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of eight MiB for this test alone."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    size = f"size={MEBIBYTES}m"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith((".partial", ".__lock"))]


def test_a_shard_that_fills_the_disk_is_not_recorded(mounted: Path, undisturbed: Checkpoint) -> None:
    checkpoint = Workspace(mounted / "workspace").checkpoint("extract", KEY)
    manifest = checkpoint.begin(Manifest("extract", KEY, {}, {}, ROWS, SHARD_ROWS, (SPEC,)))
    checkpoint.write_shard(manifest, 0, {"tokens": values(0)}, {}, 0.0)
    filler = mounted / "filler"  # somebody else's file: half a shard is left
    filler.write_bytes(bytes(shutil.disk_usage(mounted).free - SHARD_ROWS * SPEC.row_bytes // 2))
    with pytest.raises(StorageError, match=r"arrays/tokens cannot be written: .*[Nn]o space left"):
        checkpoint.write_shard(manifest, 1, {"tokens": values(1)}, {}, 0.0)
    assert checkpoint.missing_shards(manifest) == [1, 2, 3, 4]
    assert not leftovers(mounted)
    np.testing.assert_array_equal(checkpoint.array("tokens").rows(0, SHARD_ROWS), values(0))

    filler.write_bytes(bytes(shutil.disk_usage(mounted).free + filler.stat().st_size))  # not a byte
    with pytest.raises(StorageError, match=r"shards/000001.json cannot be written: No space left on device"):
        checkpoint._store.write("shards/000001.json", b"{}" * 4096)
    assert not leftovers(mounted)

    filler.unlink()
    assert fill(checkpoint).digests() == undisturbed.digests()


def test_a_workspace_that_turns_read_only_keeps_its_finished_shards(
    mounted: Path, undisturbed: Checkpoint
) -> None:
    checkpoint = Workspace(mounted / "workspace").checkpoint("extract", KEY)
    manifest = checkpoint.begin(Manifest("extract", KEY, {}, {}, ROWS, SHARD_ROWS, (SPEC,)))
    checkpoint.write_shard(manifest, 0, {"tokens": values(0)}, {}, 0.0)
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(StorageError, match=r"arrays/tokens cannot be written: .*Read-only file system"):
        checkpoint.write_shard(manifest, 1, {"tokens": values(1)}, {}, 0.0)
    with pytest.raises(StorageError, match=r"files/page.html cannot be written: Read-only file system"):
        checkpoint.write_file("page.html", b"")
    with pytest.raises(StorageError, match=r"manifest.json cannot be written: Read-only file system"):
        checkpoint.add_seconds(1.0)
    np.testing.assert_array_equal(checkpoint.array("tokens").rows(0, SHARD_ROWS), values(0))
    subprocess.run(["mount", "-o", f"remount,rw,size={MEBIBYTES}m", mounted], check=True)
    assert fill(checkpoint).digests() == undisturbed.digests()


@pytest.fixture
def without_replace(tmp_path: Path) -> Iterator[Path]:
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"no FUSE for Python: {error}")
    if not os.access("/dev/fuse", os.W_OK):
        pytest.skip("no FUSE on this machine")
    below, mount_point = tmp_path / "below", tmp_path / "without-replace"
    below.mkdir()
    mount_point.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.storage.passthrough_without_replace",
        str(below),
        str(mount_point),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: mount_point.is_mount() or process.poll() is not None, 30, "the FUSE file system")
        if process.poll() is not None:
            pytest.skip("this user cannot mount FUSE file systems")
        yield mount_point
    finally:
        subprocess.run(["umount", "--lazy", mount_point], check=False, capture_output=True)
        process.wait(30)


def test_checkpoints_work_where_renaming_cannot_replace_a_file(
    without_replace: Path, undisturbed: Checkpoint
) -> None:
    """That file system has no hard links either, so a file has to be deleted before another takes its name."""
    (without_replace / "old").write_bytes(b"old")
    (without_replace / "new").write_bytes(b"new")
    with pytest.raises(FileExistsError):
        (without_replace / "new").replace(without_replace / "old")
    checkpoint = fill(Workspace(without_replace / "workspace").checkpoint("extract", KEY))
    assert checkpoint.digests() == undisturbed.digests()
    checkpoint.write_file("page.html", b"one")
    checkpoint.write_file("page.html", b"two")
    assert checkpoint.read_file("page.html") == b"two"
    assert not leftovers(without_replace)
