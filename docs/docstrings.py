"""Prepare the docstrings for the pages of the Python API. A griffe extension, see mkdocs.yml."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
LITERAL_BLOCK = re.compile(r"::$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Turn roles such as ``:class:`Stage``` into links, and ``Example:`` into a section of code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object that griffe has read."""
        if obj.docstring:
            text = ROLE.sub(lambda role: _link(obj, role[1]), obj.docstring.value)
            obj.docstring.value = LITERAL_BLOCK.sub(":", EXAMPLE.sub("Examples:", text))


def _link(obj: griffe.Object, name: str) -> str:
    """Link to an object. If no page of the site has the object, the site shows its name as code."""
    try:
        target = obj.resolve(name)
    except griffe.NameResolutionError:
        target = name  # an absolute name
    return f'<autoref identifier="{target}" optional><code>{name}</code></autoref>'
