"""The site shows roles of docstrings as links, and their examples as code."""

from __future__ import annotations

from pathlib import Path

import pytest

griffe = pytest.importorskip("griffe")
SOURCE = '''
class Stage:
    """A stage. See :class:`Stage`, :func:`other.place.load` and :meth:`run`.

    Example:
        >>> Stage()

    Written as::

        stage
    """

    def run(self) -> None: ...
'''


def test_docstrings_become_markdown(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SOURCE)
    extensions = griffe.load_extensions("docs/docstrings.py")
    module = griffe.load("module", search_paths=[tmp_path], extensions=extensions)
    text = module["Stage"].docstring.value
    link = '<autoref identifier="{}" optional><code>{}</code></autoref>'.format
    assert text.splitlines()[0] == (
        f"A stage. See {link('module.Stage', 'Stage')}, {link('other.place.load', 'other.place.load')} and "
        f"{link('module.Stage.run', 'run')}."
    )
    assert "\nExamples:\n" in text
    assert "Written as:\n" in text
