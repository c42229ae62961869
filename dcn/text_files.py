"""Text files that people write (ids, class names, configurations), in the encodings of their editors."""

from __future__ import annotations

import codecs
import unicodedata

# A file may begin with the mark of its encoding. That of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "UTF-32-LE"),
    (codecs.BOM_UTF32_BE, "UTF-32-BE"),
    (codecs.BOM_UTF16_LE, "UTF-16-LE"),
    (codecs.BOM_UTF16_BE, "UTF-16-BE"),
)


def decode_text(content: bytes) -> str:
    r"""Decode the content of a text file: UTF-8, or what its mark says. Windows writes UTF-16 and marks.

    Args:
        content: bytes of the file.

    Returns:
        The text without the mark.

    Raises:
        ValueError: it is no such text; the message has the line, the byte, and what to do.

    Example:
        >>> decode_text(b"\xef\xbb\xbfcat\r\n")
        'cat\r\n'

    """
    mark, encoding = next((pair for pair in _MARKS if content.startswith(pair[0])), (b"", _unmarked(content)))
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        place = len(mark) + error.start
        line = content.count(b"\n", 0, place) + 1
        raise ValueError(
            f"line {line} is not {encoding} (byte {content[place]:#04x}); save the file as UTF-8"
        ) from error


def _unmarked(content: bytes) -> str:
    """Encoding of a text without a mark that begins with an ASCII character (section 5.2 of YAML 1.2)."""
    zeros = tuple(byte == 0 for byte in content[:2])
    if zeros == (False, True):
        return "UTF-16-LE"
    return "UTF-16-BE" if zeros == (True, False) else "UTF-8"


# Control characters, halves of characters, and separators of lines and paragraphs.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def is_printable(text: str) -> bool:
    """Whether a text is one line of characters that can be printed, as a name is."""
    return not any(unicodedata.category(character) in _UNPRINTABLE for character in text)


def has_control_character(text: str) -> bool:
    """Whether a text has a control character, such as a tab or an escape, which no name needs."""
    return any(unicodedata.category(character) == "Cc" for character in text)
