"""What is gone through shard by shard is what it would be at once."""

from pathlib import Path

import numpy as np
import pytest

from storage import ArraySpec, Checkpoint, Manifest, Workspace, content_key
from storage.arrays import reader

KEY = "a" * 32


def filled(folder: Path, rows: int, shard_rows: int) -> tuple[Checkpoint, np.ndarray]:
    """A checkpoint with an array of two numbers a row, and its values."""
    checkpoint = Workspace(folder).checkpoint("segment", KEY)
    manifest = checkpoint.begin(
        Manifest("segment", KEY, {}, {}, rows, shard_rows, (ArraySpec("box", (2,), "int32", ("edge",)),))
    )
    values = np.random.default_rng(0).integers(0, 99, (rows, 2)).astype(np.int32)
    for shard in range(manifest.num_shards):
        start, stop = manifest.shard_range(shard)
        checkpoint.write_shard(manifest, shard, {"box": values[start:stop]}, {}, 0.0)
    return checkpoint, values


@pytest.mark.parametrize(("rows", "shard_rows"), [(1, 4), (4, 4), (11, 4), (100, 7)])
def test_blocks_are_all_rows_in_order(
    rows: int, shard_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, values = filled(tmp_path, rows, shard_rows)
    assert len(list(checkpoint.array("box").blocks())) == 1
    monkeypatch.setattr(reader, "_BLOCK_BYTES", 2 * shard_rows * values[0].nbytes)
    blocks = list(checkpoint.array("box").blocks())
    np.testing.assert_array_equal(np.concatenate(blocks), values)
    assert max(map(len, blocks)) <= 2 * shard_rows


@pytest.mark.parametrize("files", [{}, {"a.json": b"1", "b.npy": b"2"}])
def test_the_content_is_the_key_of_all_digests(files: dict[str, bytes], tmp_path: Path) -> None:
    checkpoint, _ = filled(tmp_path, 11, 4)
    for name, content in files.items():
        checkpoint.write_file(name, content)
    manifest = checkpoint.finish({}, 0.0)
    shards = [checkpoint.read_record(shard).digests for shard in range(3)]
    assert manifest.content == content_key({"shards": shards, "files": manifest.files})
    assert manifest.files.keys() == files.keys()
