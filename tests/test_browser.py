"""The browser of the tests starts whatever the moment at which its files are read."""

from pathlib import Path

import pytest

from tests.browser import chromium

pytestmark = pytest.mark.slow


def test_a_port_that_is_not_written_yet_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "DevToolsActivePort").touch()  # as Chromium makes the file, before it writes the port
    with chromium(tmp_path) as tab:
        assert tab.run("1 + 1") == 2
