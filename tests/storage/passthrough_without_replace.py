"""A FUSE file system that hands everything on to a folder, and refuses to rename over a file that is there.

    python -m tests.storage.passthrough_without_replace FOLDER MOUNT_POINT

Some network file systems are like that.
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

    def getattr(self, path, fh=None):
        status = os.lstat(self._real(path))
        return {name: getattr(status, name) for name in ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")} | {
            name: getattr(status, f"{name}_ns") for name in ("st_atime", "st_mtime", "st_ctime")
        }  # fmt: skip

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(self._real(path))]

    def rename(self, old, new):
        if os.path.exists(self._real(new)):
            raise OSError(errno.EEXIST, "there is such a file")
        os.rename(self._real(old), self._real(new))
        return 0

    def link(self, target, source):
        raise OSError(errno.EPERM, "no hard links")

    def mkdir(self, path, mode):
        os.mkdir(self._real(path), mode)
        return 0

    def rmdir(self, path):
        os.rmdir(self._real(path))
        return 0

    def unlink(self, path):
        os.unlink(self._real(path))
        return 0

    def create(self, path, mode, fi=None):
        return os.open(self._real(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def open(self, path, flags):
        return os.open(self._real(path), flags)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(self._real(path), length)
        return 0

    def flush(self, path, fh):
        return 0

    def fsync(self, path, datasync, fh):
        os.fsync(fh)
        return 0

    def release(self, path, fh):
        os.close(fh)
        return 0

    def statfs(self, path):
        status = os.statvfs(self._real(path))
        return {
            name: getattr(status, name) for name in dir(status) if name.startswith("f_") and name != "f_fsid"
        }

    def chmod(self, path, mode):
        os.chmod(self._real(path), mode)
        return 0


if __name__ == "__main__":
    mfusepy.FUSE(PassThrough(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True)
