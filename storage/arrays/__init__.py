"""Dense per-image arrays in Zarr v3. One row is one image.

Rows are stored in shards, one file each, and one process writes a whole shard at once. A shard consists of
chunks that can be read alone, each with its own checksum. So a random batch reads only its rows, and a
flipped bit is an error, never a number.

    layout      ArraySpec, and the metadata of the hierarchy, which zarr makes
    writer      whole shards, written by tensorstore
    reader      ArrayReader: rows in any order, ahead of whoever needs them
    row_source  the two ways to read rows, and the choice between them
    local_rows  rows of an array in a folder, without tensorstore
    failures    the meaning of tensorstore's error messages
"""

from storage.arrays.layout import ArraySpec, check_group, create_arrays, delete_metadata, delete_shard
from storage.arrays.reader import ArrayReader, PendingRows
from storage.arrays.writer import values_digest, write_rows

__all__ = [
    "ArrayReader",
    "ArraySpec",
    "PendingRows",
    "check_group",
    "create_arrays",
    "delete_metadata",
    "delete_shard",
    "values_digest",
    "write_rows",
]
