"""Checkpoints on a real disk: resumed, damaged, killed, and read by others."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    ArraySpec,
    Checkpoint,
    CheckpointDamagedError,
    CheckpointMissingError,
    Manifest,
    NoSpaceError,
    StorageError,
    Workspace,
    content_key,
)
from storage.arrays import values_digest
from storage.stores.local import LocalStore

KEY = "0" * 32
SPECS = (
    ArraySpec("tokens", (30, 40), "float16", ("patch", "channel")),
    ArraySpec("area", (3,), "int64", ("region",)),
    ArraySpec("present", (), "bool", ()),
)


def manifest(rows: int = 10, shard_rows: int = 4) -> Manifest:
    return Manifest("extract", KEY, {}, {}, rows, shard_rows, SPECS)


def shard_arrays(start: int, stop: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(start)
    rows = stop - start
    return {
        "tokens": rng.normal(size=(rows, 30, 40)).astype(np.float16),
        "area": rng.integers(0, 5, (rows, 3)),
        "present": np.ones(rows, dtype=bool),
    }


def fill(checkpoint: Checkpoint, present: Manifest, shards: list[int] | None = None) -> None:
    for shard in shards or range(present.num_shards):
        checkpoint.write_shard(
            present, shard, shard_arrays(*present.shard_range(shard)), {"note": shard}, 0.5
        )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Workspace(tmp_path).checkpoint("extract", KEY)


@pytest.fixture
def complete(checkpoint: Checkpoint) -> Checkpoint:
    fill(checkpoint, checkpoint.begin(manifest()))
    checkpoint.finish({"images": 10}, 2.0)
    return checkpoint


def test_rows_come_back_as_they_were_written(complete: Checkpoint) -> None:
    expected = np.concatenate([shard_arrays(*manifest().shard_range(s))["tokens"] for s in range(3)])
    reader = complete.array("tokens")
    assert reader.shape == (10, 30, 40)
    np.testing.assert_array_equal(reader.rows(0, 10), expected)
    np.testing.assert_array_equal(reader.rows(3, 6), expected[3:6])
    np.testing.assert_array_equal(reader.read_ahead([7, 0, 7, 9]).result(), expected[[7, 0, 7, 9]])


@pytest.mark.parametrize("piece_bytes", [1, 4000, 10_000])  # a row of tokens has 2,400
def test_what_is_read_in_pieces_is_what_was_written(
    complete: Checkpoint, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr("storage.arrays.reader._PIECE_BYTES", piece_bytes)
    shards = [shard_arrays(*manifest().shard_range(shard)) for shard in range(3)]
    for name in shards[0]:
        reader, expected = complete.array(name), np.concatenate([shard[name] for shard in shards])
        np.testing.assert_array_equal(reader.rows(1, 10), expected[1:10])
        assert reader.rows(3, 3).shape == (0, *expected.shape[1:])
        rows = [9, 0, 0, 4, 7]
        np.testing.assert_array_equal(reader.read_ahead(rows).result(), expected[rows])


@pytest.mark.parametrize("rows", [[-1], [3, 10]])
def test_rows_that_are_not_there_are_refused(complete: Checkpoint, rows: list[int]) -> None:
    for name in ("tokens", "present"):  # chunks of one row, and of a whole shard, whose last one is not full
        with pytest.raises(IndexError, match="has 10 rows"):
            complete.array(name).read_ahead(rows)


def test_damage_in_a_later_piece_is_found(complete: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.arrays.reader._PIECE_BYTES", 1)
    (path,) = (Path(complete.location) / "arrays" / "tokens" / "c" / "2").rglob("0/0")
    path.unlink()
    with pytest.raises(CheckpointDamagedError, match="damaged or incomplete in shard 2"):
        complete.array("tokens").rows(0, 10)


def test_zarr_reads_it_too(complete: Checkpoint) -> None:
    group = zarr.open_group(Path(complete.location) / "arrays", mode="r")
    array = group["tokens"]
    assert isinstance(array, zarr.Array)
    assert array.metadata.zarr_format == 3
    assert array.shards == (4, 30, 40)
    assert array.metadata.dimension_names == ("image", "patch", "channel")
    np.testing.assert_array_equal(array[:], complete.array("tokens").rows(0, 10))


def test_one_file_a_shard_and_random_rows_in_chunks_of_their_own(tmp_path: Path) -> None:
    checkpoint = Workspace(tmp_path).checkpoint("extract", KEY)
    wide = ArraySpec("wide", (784, 384), "float16", ("patch", "channel"))
    present = checkpoint.begin(Manifest("extract", KEY, {}, {}, 8, 4, (wide,)))
    group = zarr.open_group(Path(checkpoint.location) / "arrays", mode="r")
    array = group["wide"]
    assert isinstance(array, zarr.Array)
    assert array.chunks == (1, 784, 384)
    checkpoint.write_shard(present, 0, {"wide": np.zeros((4, 784, 384), np.float16)}, {}, 0.0)
    assert (
        len([p for p in (Path(checkpoint.location) / "arrays" / "wide" / "c").rglob("*") if p.is_file()]) == 1
    )


def test_a_shard_is_missing_until_its_record_is_there(checkpoint: Checkpoint) -> None:
    present = checkpoint.begin(manifest())
    assert checkpoint.missing_shards(present) == [0, 1, 2]
    fill(checkpoint, present, [1])
    assert checkpoint.missing_shards(present) == [0, 2]
    with pytest.raises(StorageError, match=r"still lacks shards \[0, 2\]"):
        checkpoint.finish({}, 1.0)
    with pytest.raises(CheckpointMissingError, match="/extract/.* is not complete$"):
        checkpoint.require()


def test_beginning_again_continues_with_the_layout_that_is_there(checkpoint: Checkpoint) -> None:
    fill(checkpoint, checkpoint.begin(manifest(shard_rows=4)), [2])
    present = checkpoint.begin(manifest(shard_rows=5))
    assert present.shard_rows == 4
    assert checkpoint.missing_shards(present) == [0, 1]


def test_records_and_times(complete: Checkpoint) -> None:
    present = complete.require()
    assert present.summary == {"images": 10}
    assert present.seconds == 2.0
    records = list(complete.records(present))
    assert [record.info for record in records] == [{"note": shard} for shard in range(3)]
    for record in records:
        values = shard_arrays(*present.shard_range(record.shard))
        assert record.digests == {name: values_digest(array) for name, array in values.items()}


def test_time_of_failed_attempts_counts(checkpoint: Checkpoint) -> None:
    present = checkpoint.begin(manifest())
    checkpoint.add_seconds(3.0)
    fill(checkpoint, present)
    assert checkpoint.finish({}, 2.0).seconds == 5.0
    checkpoint.add_seconds(9.0)  # a finished checkpoint does not change
    assert checkpoint.require().seconds == 5.0


@pytest.mark.parametrize("name", ["tokens", "area", "present"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damage_is_an_error_and_never_a_number(complete: Checkpoint, name: str, damage: str) -> None:
    (path,) = [p for p in (Path(complete.location) / "arrays" / name / "c").rglob("*") if p.is_file()][:1]
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with pytest.raises(CheckpointDamagedError, match=rf"array .*{name} is damaged or incomplete"):
        complete.array(name).rows(0, 10)


def test_a_row_that_was_never_written_is_an_error(checkpoint: Checkpoint) -> None:
    present = checkpoint.begin(manifest())
    fill(checkpoint, present, [0])
    reader = checkpoint.array("area")
    assert reader.rows(0, 4).shape == (4, 3)
    with pytest.raises(CheckpointDamagedError):
        reader.rows(0, 5)


def test_zeros_are_written(checkpoint: Checkpoint) -> None:
    present = checkpoint.begin(manifest())
    zeros = {name: np.zeros_like(array) for name, array in shard_arrays(0, 4).items()}
    checkpoint.write_shard(present, 0, zeros, {}, 0.0)
    assert not checkpoint.array("tokens").rows(0, 4).any()


def test_wrong_rows_are_refused(checkpoint: Checkpoint) -> None:
    present = checkpoint.begin(manifest())
    arrays = shard_arrays(0, 4)
    with pytest.raises(
        ValueError, match=r"tokens of shard 0 is float16 \(3, 30, 40\), not float16 \(4, 30, 40\)"
    ):
        checkpoint.write_shard(present, 0, {**arrays, "tokens": arrays["tokens"][:3]}, {}, 0.0)
    with pytest.raises(ValueError, match="area of shard 0 is int32"):
        checkpoint.write_shard(present, 0, {**arrays, "area": arrays["area"].astype(np.int32)}, {}, 0.0)
    assert checkpoint.missing_shards(present) == [0, 1, 2]


def test_a_changed_record_is_found(complete: Checkpoint) -> None:
    path = Path(complete.location) / "shards" / "000001.json"
    path.write_text(path.read_text().replace('"note": 1', '"note": 7'))
    with pytest.raises(CheckpointDamagedError, match=r"000001.json, the record of shard 1, has digest"):
        complete.read_record(1)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema": 1}'])
def test_a_broken_manifest_is_named(complete: Checkpoint, content: str) -> None:
    (Path(complete.location) / "manifest.json").write_text(content)
    with pytest.raises(StorageError, match=r"manifest.json"):
        complete.read_manifest()


def test_what_does_not_fit_on_the_disk_is_not_begun(checkpoint: Checkpoint) -> None:
    huge = ArraySpec("tokens", (10**6, 10**6), "float16", ("patch", "channel"))
    with pytest.raises(NoSpaceError, match=r"stage extract is going to write 20000000.00 GB .* GB free"):
        checkpoint.begin(Manifest("extract", KEY, {}, {}, 10**4, 64, (huge,)))
    assert checkpoint.read_manifest() is None


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=200)
def test_no_name_leads_out_of_the_workspace(stage: str, key: str) -> None:
    root = Path("/somewhere/workspace")
    try:
        path = Path(Workspace(root).checkpoint(stage, key).location)
    except ValueError:
        return
    assert Path(os.path.normpath(path)).parent.parent == root


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none(), max_size=5))
def test_keys_do_not_depend_on_order_and_tell_values_apart(values: dict[str, int | str | None]) -> None:
    key = content_key(values)
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert key == content_key(dict(reversed(values.items())))
    assert key != content_key({**values, "another": 1} if "another" not in values else {})


def test_keys_refuse_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_key({"x": float("nan")})


def test_a_failed_write_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("file", b"old")
    with pytest.raises(TypeError):
        store.write("file", "not bytes")  # type: ignore[arg-type]
    assert store.read("file") == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


WRITER = """
import sys, numpy as np
from pathlib import Path
from storage import ArraySpec, Manifest, Workspace
spec = ArraySpec("tokens", (784, 64), "float16", ("patch", "channel"))
checkpoint = Workspace(Path(sys.argv[1])).checkpoint("extract", "0" * 32)
manifest = checkpoint.begin(Manifest("extract", "0" * 32, {}, {}, 400, 8, (spec,)))
print("begun", flush=True)
for shard in checkpoint.missing_shards(manifest):
    start, stop = manifest.shard_range(shard)
    values = np.random.default_rng(shard).normal(size=(stop - start, 784, 64)).astype(np.float16)
    checkpoint.write_shard(manifest, shard, {"tokens": values}, {}, 0.0)
checkpoint.finish({}, 0.0)
"""


def test_killed_writers_tear_nothing(tmp_path: Path) -> None:
    """SIGKILL at random moments; what has a record is whole, and the last writer finishes the rest."""
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        kills += writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        checkpoint = Workspace(tmp_path).checkpoint("extract", KEY)
        present = checkpoint.read_manifest()
        assert present is not None
        missing = set(checkpoint.missing_shards(present))
        for shard in set(range(present.num_shards)) - missing:
            values = checkpoint.array("tokens").rows(*present.shard_range(shard))
            assert values_digest(values) == checkpoint.read_record(shard).digests["tokens"]
    assert kills >= 3
    subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], check=True, stdout=subprocess.DEVNULL)
    digests = Workspace(tmp_path).checkpoint("extract", KEY).digests()["tokens"]
    expected = [
        values_digest(np.random.default_rng(shard).normal(size=(8, 784, 64)).astype(np.float16))
        for shard in range(50)
    ]
    assert digests == expected
