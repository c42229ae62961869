"""Who should read and write the cache: zarr's own codec pipeline, zarrs, or tensorstore, on the same files.

    python -m benchmarks.cache_io [--images 512] [--folder DIR]

Random batches of 32 rows from, and whole shards to, an array as ``extract`` writes it: 784 x 384 float16 a
row, 64 rows a shard. The page cache is warm. zarrs is measured where it is installed (pip install zarrs).
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr

from storage.arrays import ArrayReader, ArraySpec, create_arrays, write_rows
from storage.stores import open_store

SHARD, BATCH, REPEATS = 64, 32, 5
SPEC = ArraySpec("tokens", (784, 384), "float16", ("patch", "channel"))
PIPELINES = {
    "zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}


def rate(work: Callable[[], object], size: int) -> float:
    """Median MB per second of several calls, after one that does not count."""
    work()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return size / statistics.median(seconds) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    shard = rng.normal(size=(SHARD, *SPEC.row_shape)).astype(np.float16)
    batches = [np.sort(rng.choice(arguments.images, BATCH, replace=False)) for _ in range(4)]
    read_size, write_size = 4 * BATCH * SPEC.row_bytes, 4 * shard.nbytes

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        store, path = open_store(folder), Path(folder) / "arrays" / "tokens"
        create_arrays(store, "arrays", [SPEC], arguments.images, SHARD)
        for start in range(0, arguments.images, SHARD):
            write_rows(store, "arrays/tokens", start, shard)
        reader = ArrayReader(store, "arrays/tokens")
        raw: Any = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}, open=True
        ).result()

        def write_raw() -> None:
            for i in range(4):
                raw[i * SHARD : (i + 1) * SHARD].write(shard).result()

        rows: list[tuple[str, float, float]] = [
            (
                "this project",
                rate(lambda: [reader.read_ahead(b).result() for b in batches], read_size),
                rate(
                    lambda: [write_rows(store, "arrays/tokens", i * SHARD, shard) for i in range(4)],
                    write_size,
                ),
            ),
            (
                "tensorstore",
                rate(lambda: [raw[b].read().result() for b in batches], read_size),
                rate(write_raw, write_size),
            ),
        ]
        for name, pipeline in PIPELINES.items():
            if importlib.util.find_spec(name) is None:
                continue
            with zarr.config.set({"codec_pipeline.path": pipeline}):
                array: Any = zarr.open_array(path, mode="r+")

                def write_zarr(array: Any = array) -> None:
                    for i in range(4):
                        array[i * SHARD : (i + 1) * SHARD] = shard

                def read_zarr(array: Any = array) -> None:
                    for batch in batches:
                        array.oindex[batch]

                rows.append((name, rate(read_zarr, read_size), rate(write_zarr, write_size)))
    print(
        f"{'':<14}{'random batches, MB/s':>22}{'whole shards written, MB/s':>28}   (zarr {zarr.__version__})"
    )
    for name, read, write in rows:
        print(f"{name:<14}{read:>22.0f}{write:>28.0f}")
    print(f"reading: {rows[0][1] / rows[1][1]:.2f} of tensorstore; writing: {rows[0][2] / rows[1][2]:.2f}")


if __name__ == "__main__":
    main()
