"""Places where the files of a workspace are: one interface, :class:`Store`, and one class for each kind."""

from pathlib import Path

from storage.stores.local import LocalStore
from storage.stores.store import Store, StoredFile, check_location

__all__ = ["Store", "StoredFile", "open_store"]


def open_store(location: str) -> Store:
    """Open the store at a path, or at an ``s3://`` or ``gs://`` URL.

    Raises:
        StorageError: the URL has another scheme, or names no bucket.

    """
    check_location(location)
    if "://" in location:
        from storage.stores.objects import ObjectStore  # obstore takes a while to import

        return ObjectStore(location)
    return LocalStore(Path(location).absolute())
