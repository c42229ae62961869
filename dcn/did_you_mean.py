"""A known name for a mistyped one, at the end of an error message."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask for the most similar known name.

    Args:
        name: what the user wrote.
        known: names that exist.

    Returns:
        ``; did you mean X?``, or an empty text if no known name is similar.

    Example:
        >>> did_you_mean("iteratons", ["iterations", "seed"]), did_you_mean("x", ["iterations"])
        ('; did you mean iterations?', '')

    """
    similar = get_close_matches(name, known, n=1)
    return f"; did you mean {similar[0]}?" if similar else ""
