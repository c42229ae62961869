"""A prefix of an object store. obstore reads and writes the small files, tensorstore the arrays.

Every process reads credentials, region and endpoint from its environment, from the variables that the tools
of each store use: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION`` and ``AWS_ENDPOINT_URL``;
``GOOGLE_APPLICATION_CREDENTIALS``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cached_property
from typing import Any

from storage.errors import FileSystemError, StorageError
from storage.stores.store import StoredFile, check_name

_REFUSED = re.compile(r" (400|401|403|404) ")
# Without a connection, a person waits for the error this long.
_RETRY = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}


class ObjectStore:
    """The objects whose names begin with a prefix.

    Args:
        url: ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``. The bucket exists.

    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._scheme, _, path = self._url.partition("://")
        self._bucket, _, self._prefix = path.partition("/")

    @property
    def location(self) -> str:
        return self._url

    def folder(self, name: str) -> ObjectStore:
        return ObjectStore(f"{self._url}/{check_name(name)}")

    def read(self, name: str) -> bytes:
        try:
            return bytes(self._objects.get(check_name(name)).bytes())
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is no {self._url}/{name}") from error
        except self._errors as error:
            raise self._failure("read", name, error) from error

    def write(self, name: str, content: bytes) -> None:
        try:
            self._objects.put(check_name(name), content)
        except self._errors as error:
            raise self._failure("written", name, error) from error

    def create(self, name: str, content: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            self._objects.put(check_name(name), content, mode="create")
        except AlreadyExistsError:
            return False
        except self._errors as error:
            raise self._failure("written", name, error) from error
        return True

    def exists(self, name: str) -> bool:
        try:
            self._objects.head(check_name(name))
        except FileNotFoundError:
            return False
        except self._errors as error:
            raise self._failure("read", name, error) from error
        return True

    def delete(self, name: str) -> None:
        try:
            self._objects.delete(check_name(name))
        except FileNotFoundError:
            pass
        except self._errors as error:
            raise self._failure("deleted", name, error) from error

    def delete_all(self, prefix: str = "") -> None:
        for file in list(self.list(prefix)):
            self.delete(file.name)

    def folders(self, prefix: str = "") -> Iterator[str]:
        try:
            found = self._objects.list_with_delimiter(check_name(prefix) if prefix else None)
            yield from sorted(name.rstrip("/") for name in found["common_prefixes"])
        except self._errors as error:
            raise self._failure("listed", prefix, error) from error

    def list(self, prefix: str = "") -> Iterator[StoredFile]:
        try:
            for page in self._objects.list(check_name(prefix) if prefix else None):
                for found in page:
                    yield StoredFile(found["path"], found["size"], found["last_modified"])
        except self._errors as error:
            raise self._failure("listed", prefix, error) from error

    def path(self, name: str) -> None:
        return None

    def tensorstore(self, name: str) -> dict[str, Any]:
        path = f"{self._prefix}/{check_name(name)}/".lstrip("/")
        if self._scheme == "gs":
            return {"driver": "gcs", "bucket": self._bucket, "path": path}
        spec: dict[str, Any] = {"driver": "s3", "bucket": self._bucket, "path": path}
        if endpoint := _endpoint():
            spec |= {"endpoint": endpoint, "aws_region": _region()}
        # Else tensorstore searches files for credentials first, and logs every place where it searches.
        if "AWS_ACCESS_KEY_ID" in os.environ:
            spec["aws_credentials"] = {"type": "environment"}
        return spec

    def make(self) -> None:
        pass

    def free_bytes(self) -> int | None:
        return None

    @cached_property
    def _objects(self) -> Any:
        from obstore.store import GCSStore, S3Store

        options: dict[str, Any] = {"prefix": self._prefix or None, "retry_config": _RETRY}
        if self._scheme == "gs":
            return GCSStore(self._bucket, **options)
        if endpoint := _endpoint():
            # Unencrypted connections only if the user gives an endpoint that starts with http://.
            options |= {
                "endpoint": endpoint,
                "client_options": {"allow_http": endpoint.startswith("http://")},
            }
        return S3Store(self._bucket, region=_region(), **options)

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        from obstore.exceptions import BaseError

        return (BaseError, OSError)

    def _failure(self, done: str, name: str, error: Exception) -> StorageError:
        reason = str(error).partition("\n")[0].partition(": <?xml")[0]  # without the page of the server
        message = (
            f"{self._url}/{name} cannot be {done}: {reason}. Check the bucket, and the credentials and the "
            f"endpoint in the environment variables"
        )
        # A server that refused once refuses again. Every other error may be gone a minute later.
        refused = isinstance(error, FileNotFoundError | PermissionError) or _REFUSED.search(reason)
        return StorageError(message) if refused else FileSystemError(message)


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
