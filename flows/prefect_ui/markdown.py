"""Text from outside, file names and error messages, in Markdown: shown as it is, never interpreted.

Prefect's pages render artifacts as Markdown, the cells of a table as well, and HTML in it. In a code span and
in a fenced block nothing is interpreted, if the text cannot end them.
"""

from __future__ import annotations

import re

# Letters, digits, an underscore inside a word, and marks that mean nothing in a line.
_PLAIN = re.compile(r"(?:[^\W_]|(?<=[^\W_])_(?=[^\W_])|[ ./%°±,;'()+=-])*")
# What begins a list, a heading or a rule.
_MARKED = re.compile(r"[-+](\s|$)|[-=]+\s*$|\d+[.)](\s|$)")


def cell(text: str) -> str:
    """One line: the text itself where nothing in it can be Markdown, else a code span."""
    text = " ".join(_printable(text).split())
    if _PLAIN.fullmatch(text) and not _MARKED.match(text):
        return text
    fence = "`" * (_longest_run(text) + 1)
    return f"{fence} {text} {fence}"


def block(text: str) -> str:
    """Any number of lines, in a fenced block."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{_printable(text)}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _printable(text: str) -> str:
    """Without control characters and marks that turn the direction of writing: they hide what is said."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
