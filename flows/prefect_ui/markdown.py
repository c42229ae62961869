"""Text from outside (file names, error messages) in Markdown: shown as it is, never interpreted.

Prefect's pages render artifacts as Markdown with HTML, also in the cells of a table. A code span and a fenced
block interpret nothing, if the text cannot end them.
"""

from __future__ import annotations

import re
from pathlib import Path

from flows.printable import printable

# Letters, digits, an underscore inside a word, and marks that mean nothing in a line.
_PLAIN = re.compile(r"(?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|[ ./%°±,;'()+=-])*")
# Beginning of a list, a heading or a rule.
_MARKED = re.compile(r"[-+](\s|$)|[-=]+\s*$|\d+[.)](\s|$)")


def cell(text: str) -> str:
    """Write a text in one line: as it is if nothing in it can be Markdown, else as a code span."""
    text = " ".join(printable(text).split())
    if _PLAIN.fullmatch(text) and not _MARKED.match(text):
        return text
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence} {text} {fence}"


def link_to_file(location: str) -> str:
    """Link to a file in a folder. A file on an object store has no address that a browser can open."""
    if "://" in location:
        return cell(location)
    # Percent signs replace all characters that could end the link. The address is the text as well, because
    # browsers open a file only if its address is pasted.
    address = Path(location).absolute().as_uri()
    return f"[`{address}`](<{address}>)"


def block(text: str) -> str:
    """Write any number of lines as a fenced block."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{printable(text)}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
