"""Text from outside (names of files and classes, errors of libraries) made fit for terminal, log and page."""

from __future__ import annotations

import re

# Control characters, among them ESC, with which a terminal can be told to do things; characters that reverse
# the direction of what follows; and halves of surrogate pairs, which no encoding has: Python makes them of
# bytes that are no UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BYTES = range(0xDC80, 0xDD00)


def printable(text: str) -> str:
    r"""The text with ``\x1b`` for ESC, ``\xff`` for a byte that is no UTF-8; line breaks stay."""
    return _UNPRINTABLE.sub(_escaped, text) if _UNPRINTABLE.search(text) else text


def printable_line(text: str) -> str:
    r"""The same on one line, ``\x0a`` for a line break: the name of a file must not look like two lines."""
    return re.sub(r"[\n\t]", _escaped, printable(text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    code -= 0xDC00 if code in _BYTES else 0
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
