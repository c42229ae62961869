"""Errors of the operating system that trying again cannot fix. Every other one may be over in a moment."""

from __future__ import annotations

import errno

# The right is missing, or the file is too large or has too long a name.
_ALWAYS = frozenset({errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENAMETOOLONG})

# Reading a file that a data set or a person names: the file is gone, or is no regular file.
LASTING_OF_READING = _ALWAYS | {
    errno.EILSEQ,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENODEV,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
}

# Work that reads and writes many files, where a missing file may only be late on a network file system: the
# disk is full or read-only.
LASTING_OF_WORK = _ALWAYS | {errno.EROFS, errno.ENOSPC, errno.EDQUOT}
