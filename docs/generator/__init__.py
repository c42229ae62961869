"""Reference pages made from the code: `python -m docs.generator` writes them, a test compares them."""

from pathlib import Path

from docs.generator.command_line import command_line_page
from docs.generator.settings import settings_page

REFERENCE = Path(__file__).parent.parent / "reference"


def pages() -> dict[Path, str]:
    """Text of each generated page, by its file."""
    return {REFERENCE / "settings.md": settings_page(), REFERENCE / "command-line.md": command_line_page()}
