"""Render self-contained HTML pages: templates, their style and scripts, and pictures as data URIs.

No name of a file or a class can run code on a page. Templates escape it, scripts get it as JSON, and the page
forbids every script but its own (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from flows.printable import printable
from storage.key import digest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PACKAGE = resources.files("flows.report")
_FRAME = "page.html.j2"
_STYLE = "page.css"
# The browser runs them in this order, as one script.
_SCRIPTS = ("maps.js", "photographs.js", "enlarged.js", "names.js")


def render(template: str, data: Mapping[str, str] | None = None, **context: Any) -> bytes:
    """Render a template of ``flows/report/templates``. All text becomes printable and is escaped.

    Args:
        template: name of the template.
        data: JSON from :func:`script_json` that the scripts of the page read, by the id of its element. A
            page without data has no script.
        context: values of the template.

    """
    import jinja2  # the digest of a template needs neither it nor matplotlib

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    script = page_script()
    page = environment.get_template(template).render(
        style=Markup(_asset(_STYLE)),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - likewise
        policy=_policy(script if data else None),
        data={name: Markup(content) for name, content in (data or {}).items()},  # noqa: S704 - see script_json
        **context,
    )
    return page.encode()


def script_json(value: Any) -> str:
    """Encode a value as JSON for a script element, which no text can end. All text becomes printable."""
    return json.dumps(_printable(value), allow_nan=False).replace("<", "\\u003c")


def page_script() -> str:
    """Return the script of the pages."""
    return "\n".join(_asset(name) for name in _SCRIPTS)


def template_digest(template: str) -> str:
    """Compute the digest of a template, the frame around it, style and scripts: the look of a page."""
    return digest((_template(_FRAME) + _template(template) + _asset(_STYLE) + page_script()).encode())


def _policy(script: str | None) -> str:
    """Forbid everything but pictures and styles inside of the page, and its own script.

    ``strict-dynamic`` lets that script load the files of pictures beside the page.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script is None:
        return policy
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{policy}; script-src 'sha256-{own}' 'strict-dynamic'"


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {name: _printable(one) for name, one in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list | tuple) else value


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


def _template(name: str) -> str:
    return _PACKAGE.joinpath("templates", name).read_text()


def _asset(name: str) -> str:
    return _PACKAGE.joinpath("assets", name).read_text()
