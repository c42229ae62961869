"""Open a page in a real browser, or parse its text and the elements that could run code."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium without a window."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine (Debian's package is called chromium)")
    arguments = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
                 "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
                 "--enable-logging=stderr", "--window-size=1280,2000", "--virtual-time-budget=5000"]  # fmt: skip
    return subprocess.run([*arguments, *options, page.as_uri()], capture_output=True, text=True, timeout=120)


class ShownPage(HTMLParser):
    """The text of a page, alternative texts of pictures included, and the elements that would run code."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.runs_something: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += "".join(f"{value}\n" for name, value in attrs if name == "alt")
        self.runs_something += [f"<{tag} {name}>" for name, _ in attrs if name.startswith("on")]
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.runs_something.append(f"<{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data
