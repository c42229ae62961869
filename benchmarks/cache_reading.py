"""Reading the cache: random training batches against a memory map, a whole pass against plain files.

    python -m benchmarks.cache_reading [--images 512] [--pairs 7] [--folder DIR] [--json FILE]

An array as ``extract`` writes it: 784 x 384 float16 a row, 64 rows a shard. Random batches of 32 are read as
``train`` reads them, the next while one is in use, and compared with ``np.memmap`` over the same values; both
from a warm page cache. A pass reads shard after shard, and is compared with ``np.fromfile`` of the
very files of the cache, from front to back; once with nothing of them in the page cache, once with all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.pairs import measure_pairs
from benchmarks.row import Row, add_json_option, show_rows
from storage.arrays import ArrayReader, ArraySpec, create_arrays, write_rows
from storage.stores import open_store

SHARD, BATCH, BATCHES = 64, 32, 16
SPEC = ArraySpec("tokens", (784, 384), "float16", ("patch", "channel"))


def random_batches(reader: ArrayReader, values: np.memmap, pairs: int) -> Row:
    """The same rows from both."""
    rng = np.random.default_rng(0)
    batches = [np.sort(rng.choice(len(values), BATCH, replace=False)) for _ in range(BATCHES)]

    def from_cache() -> None:
        following = reader.read_ahead(batches[0])
        for batch in batches[1:]:
            current, following = following, reader.read_ahead(batch)
            current.result()
        following.result()

    def from_map() -> None:
        for batch in batches:
            np.asarray(values[batch])

    ratio, details = measure_pairs(from_map, from_cache, pairs)
    details["MB per second"] = BATCHES * BATCH * SPEC.row_bytes / details["seconds of the candidate"] / 1e6
    return Row("random training batches", "np.memmap, warm", ratio, "of its speed", 0.4, details=details)


def whole_pass(reader: ArrayReader, folder: Path, pairs: int, *, warm: bool) -> Row:
    """Every row once, in order."""
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name)
    rows = reader.shape[0]

    def from_cache() -> None:
        for start in range(0, rows, SHARD):
            reader.rows(start, min(rows, start + SHARD))

    def from_files() -> None:
        for path in files:
            np.fromfile(path, dtype=np.uint8)

    def forget() -> None:
        for path in files:
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    ratio, details = measure_pairs(from_files, from_cache, pairs, before=(lambda: None) if warm else forget)
    details["MB per second"] = rows * SPEC.row_bytes / details["seconds of the candidate"] / 1e6
    state = "warm" if warm else "cold"
    return Row(
        f"a pass over the whole cache, {state}", f"reading its files, {state}", ratio, "of its speed", 0.5,
        details=details,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    add_json_option(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        store = open_store(name)
        create_arrays(store, "arrays", [SPEC], arguments.images, SHARD)
        shape = (arguments.images, *SPEC.row_shape)
        values = np.memmap(folder / "plain", dtype=SPEC.dtype, mode="w+", shape=shape)
        for start, shard in drawn_shards(arguments.images):
            write_rows(store, "arrays/tokens", start, shard)
            values[start : start + len(shard)] = shard
        reader = ArrayReader(store, "arrays/tokens")
        shards = folder / "arrays" / "tokens" / "c"
        rows = [
            random_batches(reader, values, arguments.pairs),
            whole_pass(reader, shards, arguments.pairs, warm=True),
        ]
        if hasattr(os, "posix_fadvise"):
            rows.append(whole_pass(reader, shards, arguments.pairs, warm=False))
    show_rows(rows, arguments.json)


def drawn_shards(images: int) -> Iterator[tuple[int, np.ndarray]]:
    """First row and values of every shard."""
    rng = np.random.default_rng(0)
    for start in range(0, images, SHARD):
        rows = min(SHARD, images - start)
        yield start, rng.normal(size=(rows, *SPEC.row_shape)).astype(SPEC.dtype)


if __name__ == "__main__":
    main()
