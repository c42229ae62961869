"""Rows that are read from the files themselves are those that Zarr reads, whoever wrote the array."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from storage.arrays import ArrayReader
from storage.arrays.local_rows import LocalRows
from storage.arrays.row_source import TensorstoreRows
from storage.errors import CheckpointDamagedError, FileSystemError
from storage.stores.local import LocalStore


def write(
    folder: Path, values: np.ndarray, shard_rows: int, chunk_rows: int, **options: Any
) -> zarr.Array[Any]:
    rest = values.shape[1:]
    group = zarr.create_group(folder, overwrite=True, zarr_format=3)
    array = group.create_array(
        "a", shape=values.shape, dtype=values.dtype, chunks=(chunk_rows, *rest), shards=(shard_rows, *rest),
        **{"compressors": [Crc32cCodec()], **options},
    )  # fmt: skip
    array[:] = values
    return array


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_rows_in_any_order(tmp_path: Path, data: st.DataObject) -> None:
    chunk_rows, chunks, num_rows = (data.draw(st.integers(1, most)) for most in (3, 4, 20))
    dtype = data.draw(st.sampled_from(["bool", "uint8", "float16", "int64"]))
    shape = (num_rows, *data.draw(st.lists(st.integers(1, 3), max_size=2)))
    values = np.random.default_rng(0).integers(1, 100, shape).astype(dtype)
    array = write(tmp_path, values, chunk_rows * chunks, chunk_rows)
    rows = data.draw(st.lists(st.integers(0, num_rows - 1), max_size=30))
    reader = ArrayReader(LocalStore(tmp_path), "a")
    assert isinstance(reader._source, LocalRows)
    found = reader.read_ahead(rows).result()
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array.oindex[np.array(rows, dtype=np.int64)])
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, num_rows)] * 2)))
    np.testing.assert_array_equal(reader.rows(start, stop), array[start:stop])


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": [ZstdCodec(), Crc32cCodec()]},
        {"compressors": None},
        {"serializer": BytesCodec(endian="big")},
    ],
)
def test_arrays_of_others_are_read_by_what_knows_their_codecs(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    values = np.arange(24, dtype=np.float32).reshape(6, 4)
    write(tmp_path, values, 4, 2, **options)
    reader = ArrayReader(LocalStore(tmp_path), "a")
    assert isinstance(reader._source, TensorstoreRows)
    np.testing.assert_array_equal(reader.rows(0, 6), values)


def test_what_a_message_says(tmp_path: Path) -> None:
    write(tmp_path, np.arange(24, dtype=np.float32).reshape(6, 4), 4, 1)
    reader, path = ArrayReader(LocalStore(tmp_path), "a"), tmp_path / "a" / "c" / "1" / "0"
    whole = path.read_bytes()
    for content, message in (
        (whole[:10], f"{path}: it has no byte -58"),
        (
            b"\0" * len(whole),
            f"{path}: the checksum of the chunk that begins at byte {len(whole) - 68} is wrong",
        ),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointDamagedError, match="incomplete in shard 1: ") as caught:
            reader.rows(3, 6)
        assert message in str(caught.value)


def test_what_is_wrong_once_and_then_right_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a repaired shard takes the place of a damaged one between two reads."""
    write(tmp_path, np.arange(24, dtype=np.float32).reshape(6, 4), 4, 1)
    reader, path = ArrayReader(LocalStore(tmp_path), "a"), tmp_path / "a" / "c" / "1" / "0"
    whole, find = path.read_bytes(), ArrayReader.damaged_shards

    def repaired(reader: ArrayReader, rows: np.ndarray) -> list[int]:
        path.write_bytes(whole)
        return find(reader, rows)

    monkeypatch.setattr(ArrayReader, "damaged_shards", repaired)
    path.write_bytes(b"")
    with pytest.raises(FileSystemError, match="was read wrongly once, and then rightly: "):
        reader.rows(0, 6)
    assert reader.rows(0, 6).shape == (6, 4)
