"""Local files of weights, as far as they can be checked without PyTorch."""

from __future__ import annotations

from pathlib import Path

from dcn.errors import WeightsUnavailableError


def check_weights_file(path: Path) -> None:
    """Check that a file of weights exists.

    Raises:
        WeightsUnavailableError: there is no such file.

    """
    if not path.is_file():
        raise WeightsUnavailableError(f"there is no weights file {path}", parameter="weights")
