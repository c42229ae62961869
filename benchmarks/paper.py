"""The tokens and the loss of the paper, for measurements that compare with its formulas."""

from __future__ import annotations

from typing import Any

# Section ``train``: tokens as the backbone gives them, and equations 7 to 10 on plain cosines.
PAPERS_LOSS: dict[str, Any] = {"whitened_dims": None, "expected_affinity": None, "temperature": None}
