"""``python -m flows`` is ``dcn``."""

from flows.cli.app import app

app(prog_name="dcn")
