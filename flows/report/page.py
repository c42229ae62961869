"""Render self-contained HTML pages: templates, and pictures as data URIs, which cannot run code."""

from __future__ import annotations

import base64
import io
from importlib import resources
from typing import TYPE_CHECKING, Any

from flows.printable import printable
from storage.key import digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FOLDER = resources.files("flows.report").joinpath("templates")
_FRAME = "page.html.j2"


def render(template: str, **context: Any) -> bytes:
    """Render a template of ``flows/report/templates``. All text becomes printable and is escaped."""
    import jinja2  # the digest of a template needs neither it nor matplotlib

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
    )
    return environment.get_template(template).render(**context).encode()


def template_digest(template: str) -> str:
    """Compute the digest of a template and of the frame around it: the look of a page."""
    return digest((_source(_FRAME) + _source(template)).encode())


def jpeg_uri(content: bytes) -> str:
    """Encode a JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def photograph_uri(figure: Figure) -> str:
    """Encode a figure of photographs as a data URI with a JPEG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", dpi=110, pil_kwargs={"quality": 85})
    return jpeg_uri(buffer.getvalue())


def plot_uri(figure: Figure) -> str:
    """Encode a figure of lines as a data URI with an SVG."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "page"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def _source(template: str) -> str:
    return _FOLDER.joinpath(template).read_text()
