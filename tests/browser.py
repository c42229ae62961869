"""Open a page in a real browser, drive it there, or parse its text and the elements that could run code."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from flows.report.page import page_script

_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--window-size=1280,2000")  # fmt: skip


def find_chromium() -> str:
    """Path of Chromium; without one, the test is skipped."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine (Debian's package is called chromium)")
    return browser


def browse(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium without a window."""
    arguments = [find_chromium(), *_OPTIONS, f"--user-data-dir={profile}", "--enable-logging=stderr",
                 "--virtual-time-budget=5000"]  # fmt: skip
    return subprocess.run([*arguments, *options, page.as_uri()], capture_output=True, text=True, timeout=120)


class ShownPage(HTMLParser):
    """The text of a page, alternative texts of pictures and data of its script included, and what would run code.

    The script of our pages is known, so it does not count.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.runs_something: list[str] = []
        self._script: str | None = None
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += "".join(f"{value}\n" for name, value in attrs if name == "alt")
        self.runs_something += [f"<{tag} {name}>" for name, _ in attrs if name.startswith("on")]
        if tag in ("iframe", "object", "embed", "base", "form"):
            self.runs_something.append(f"<{tag}>")
        if tag == "script":
            self._script = dict(attrs).get("type") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        elif self._script == "application/json":
            self.text += "".join(f"{text}\n" for text in _texts(json.loads(data)))
        elif data != page_script():
            self.runs_something.append("<script>")


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


@dataclass(frozen=True)
class Tab:
    """A page in a running Chromium, driven as a person would: by the mouse, a finger and the keyboard.

    Attributes:
        socket: connection to the tab, by the DevTools protocol.
        console: messages of the console, errors of the page included.

    """

    socket: Connection
    console: list[str]
    numbers: Iterator[int] = field(default_factory=count)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and wait for its answer."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, (method, message)
                found: dict[str, Any] = message["result"]
                return found
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.console.append(json.dumps(message["params"]))

    def open(self, page: Path) -> None:
        """Open a page and wait until it is loaded."""
        self.call("Page.navigate", url=page.as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, and wait for the result if it is a promise."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Wait until a condition in JavaScript is true."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < end, f"still not: {condition}"
            time.sleep(0.05)

    def place(self, selector: str, right: float = 0.5, down: float = 0.5) -> dict[str, float]:
        """Scroll to an element; returns the coordinates of a point in it, given in shares of its size."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height] })()"
        )
        return {"x": box[0] + right * box[2], "y": box[1] + down * box[3]}

    def point(self, selector: str, right: float = 0.5, down: float = 0.5) -> None:
        """Move the mouse over an element."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **self.place(selector, right, down))

    def click(self, selector: str, right: float = 0.5, down: float = 0.5) -> None:
        """Click on an element."""
        at = self.place(selector, right, down)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def tap(self, selector: str, right: float = 0.5, down: float = 0.5) -> None:
        """Touch an element with a finger."""
        at = self.place(selector, right, down)
        self.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[at])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def press(self, key: str) -> None:
        """Press a key that writes nothing, such as Escape."""
        code = {"Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def write(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Show the page as a screen of this size does."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=phone,
                  deviceScaleFactor=2 if phone else 1)  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        """Take a picture of what the screen shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """Start a Chromium without a window, whose one tab can be driven."""
    arguments = [find_chromium(), *_OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_address(profile), max_size=None) as socket:
            tab = Tab(socket, [])
            for domain in ("Page", "Runtime", "Log"):
                tab.call(f"{domain}.enable")
            yield tab
    finally:
        process.terminate()
        process.wait(30)


def _address(profile: Path) -> str:
    """Wait until the browser says at which port it listens; returns the address of its tab."""
    port, end = profile / "DevToolsActivePort", time.monotonic() + 60
    while True:
        assert time.monotonic() < end, "Chromium did not start"
        with suppress(OSError, httpx.HTTPError, ValueError, StopIteration):
            number, _ = port.read_text().splitlines()  # the browser may not have written both lines yet
            tabs = httpx.get(f"http://127.0.0.1:{number}/json/list", trust_env=False).json()
            found: str = next(one for one in tabs if one["type"] == "page")["webSocketDebuggerUrl"]
            return found
        time.sleep(0.05)
