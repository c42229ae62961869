"""Arrays of MATLAB in the files of data sets."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt


def read_mat(content: bytes, name: str) -> npt.NDArray[Any] | None:
    """Read one variable of a MAT file.

    Args:
        content: bytes of the file.
        name: name of the variable.

    Returns:
        Its array; None if the file has no such variable.

    Raises:
        ValueError: the file cannot be read; the message has the reason.

    """
    try:
        from scipy.io import loadmat

        found = loadmat(io.BytesIO(content), variable_names=[name]).get(name)
    except Exception as error:  # scipy has some ten errors for a broken file; they mean the same
        reason = str(error).partition("\n")[0]
        raise ValueError(f"cannot be read as a MAT file: {reason}") from error
    return found if isinstance(found, np.ndarray) else None
