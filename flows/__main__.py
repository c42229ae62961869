"""``python -m flows`` is ``dcn``."""

from flows.cli import app

app(prog_name="dcn")
