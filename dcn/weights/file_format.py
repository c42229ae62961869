"""The format of a file of weights, by its content. What is no such file is called what it is."""

from __future__ import annotations

import json
import string
import zipfile
from pathlib import Path
from typing import Literal

from dcn.errors import WeightsUnavailableError

Format = Literal["safetensors", "torch"]

_HEAD_BYTES = 512
_LONGEST_HEADER = 100_000_000  # of safetensors; its library reads no longer one
_UNPACK = "; unpack it"
_GIVE_OTHER = "; give a .safetensors or PyTorch file of the model"
# First bytes of files that people give for weights by mistake.
_OTHERS = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS instead of the file; fetch the file with `git lfs pull`",
    ),
    (b"\x1f\x8b", f"a gzip archive{_UNPACK}"),
    (b"BZh", f"a bzip2 archive{_UNPACK}"),
    (b"\xfd7zXZ", f"an xz archive{_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive{_UNPACK}"),
    (b"Rar!", f"a RAR archive{_UNPACK}"),
    (b"\x89HDF", f"an HDF5 file, as Keras writes{_GIVE_OTHER}"),
    (b"GGUF", f"a GGUF file{_GIVE_OTHER}"),
    (b"\x93NUMPY", f"a NumPy array{_GIVE_OTHER}"),
)
_AGAIN = "download it again"


def weights_format(path: Path) -> Format:
    """Find out the format of a file of weights, whatever its suffix says.

    Raises:
        WeightsUnavailableError: the file is empty, incomplete, or something else; the message says what.
        OSError: it cannot be read.

    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        length = int.from_bytes(head[:8], "little")
        if head[8:9] == b"{" and length <= _LONGEST_HEADER:
            _check_length(path, size, length, (head[8:] + file.read(length))[:length])
            return "safetensors"
    if head.startswith(b"PK"):
        _check_archive(path)
        return "torch"
    if head.startswith(b"\x80"):  # a pickle, which older versions of PyTorch write
        return "torch"
    raise _unusable(path, _kind(head))


def _check_length(path: Path, size: int, length: int, header: bytes) -> None:
    """Compare the size of a safetensors file with the size that its header promises."""
    wanted = 8 + length
    if size >= wanted:
        try:
            entries = json.loads(header).items()
            wanted += max(
                (end["data_offsets"][1] for name, end in entries if name != "__metadata__"), default=0
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise _unusable(path, f"a damaged safetensors file; {_AGAIN}") from error
    if size < wanted:
        raise _unusable(path, f"an incomplete safetensors file ({size:,} of {wanted:,} bytes); {_AGAIN}")


def _check_archive(path: Path) -> None:
    """Check that a ZIP archive is what `torch.save` writes: uncompressed, with a pickle of the tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _unusable(path, f"an incomplete PyTorch file; {_AGAIN}") from error
    names = {entry.filename.rpartition("/")[2] for entry in entries}
    if "constants.pkl" in names:
        raise _unusable(
            path, "a program of TorchScript, and programs are not run; save the state dict of its model"
        )
    if "data.pkl" not in names or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise _unusable(path, f"a ZIP archive, not a PyTorch file{_UNPACK}")


def _kind(head: bytes) -> str:
    for begin, kind in _OTHERS:
        if head.startswith(begin):
            return kind
    if not head:
        return f"an empty file; {_AGAIN}"
    text = head.decode("utf-8-sig", errors="replace").strip()
    if text.startswith("<"):
        return f"a web page instead of the file (perhaps that of a login); {_AGAIN}"
    if all(character in string.printable for character in text):
        return f"a text that begins with {text[:40]!r}; {_AGAIN}"
    return f"neither a safetensors file nor one of PyTorch; {_AGAIN}, or give another"


def _unusable(path: Path, kind: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(f"{path} cannot be read as weights: it is {kind}", parameter="weights")
