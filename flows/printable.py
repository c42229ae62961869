"""Text from outside (file names, class names, errors of libraries) made safe for terminal, log and page."""

from __future__ import annotations

import re

# Control characters, such as ESC, which begins a command to the terminal; characters that reverse the
# direction of the text after them; and lone surrogates, which no encoding has: Python makes them of bytes
# that are no UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_BYTES = range(0xDC80, 0xDD00)
# What to do about such a name. Checkpoints, the tasks of workers and Prefect's parameters are JSON, which has
# no other texts.
NOT_UNICODE = "its name is not Unicode (UTF-8); rename it, or make a link (ln -s) with another name"


def printable(text: str) -> str:
    r"""Escape unprintable characters: ESC as ``\x1b``, a byte that is no UTF-8 as ``\xff``. Keep newlines."""
    return _UNPRINTABLE.sub(_escaped, text) if _UNPRINTABLE.search(text) else text


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8. The name of a file may hold bytes that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable_line(text: str) -> str:
    r"""Escape line breaks and tabs as well, so that the name of a file cannot look like two lines."""
    return re.sub(r"[\n\t]", _escaped, printable(text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    code -= 0xDC00 if code in _BYTES else 0
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
