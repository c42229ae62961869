"""A FUSE file system that passes everything on to a folder, but cannot rename a file over an existing one.

    python -m tests.storage.passthrough_without_replace FOLDER MOUNT_POINT

Some network file systems behave like that.
"""

import errno
import os
import sys

import mfusepy


class PassThrough(mfusepy.Operations):
    use_ns = True

    def __init__(self, root: str) -> None:
        self.root = root

    def _real(self, path: str) -> str:
        return self.root + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        status = os.lstat(self._real(path))
        return {name: getattr(status, name) for name in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")} | {
            name: getattr(status, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")
        }  # fmt: skip

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._real(path))]

    def rename(self, old: str, new: str) -> int:
        if os.path.exists(self._real(new)):
            raise OSError(errno.EEXIST, "there is such a file")
        os.rename(self._real(old), self._real(new))
        return 0

    def link(self, target: str, source: str) -> int:
        raise OSError(errno.EPERM, "no hard links")

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._real(path), mode)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._real(path))
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._real(path))
        return 0

    def create(self, path: str, mode: int, fi: object = None) -> int:
        return os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._real(path), flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._real(path), length)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        os.fsync(fh)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        status = os.statvfs(self._real(path))
        return {
            name: getattr(status, name) for name in dir(status) if name.startswith("f_") and name != "f_fsid"
        }

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._real(path), mode)
        return 0


if __name__ == "__main__":
    mfusepy.FUSE(PassThrough(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True)
