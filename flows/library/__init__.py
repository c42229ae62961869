"""What a run left in a workspace, for programs in Python: its model and its arrays.

Users reach these functions as ``dcn.load`` and ``dcn.open_run``.
"""

from flows.library.loading import load
from flows.library.run import Run, open_run

__all__ = ["Run", "load", "open_run"]
