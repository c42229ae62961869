"""``python -m flows`` is ``dcn``."""

import sys
from pathlib import Path

# `python -m` looks for modules in the current folder first. There may be photographs, and a file copy.py of
# somebody else beside them, which must not run.
if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parent.parent:
    del sys.path[0]

from flows.cli.app import app

app(prog_name="dcn")
