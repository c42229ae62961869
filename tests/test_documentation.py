"""The documentation follows the code: generated pages are up to date, and links and named files exist."""

from __future__ import annotations

import ast
import pkgutil
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from docs import generator
from tests.test_imports import FLOORS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SHORTEST_REASON = 24
BETWEEN_PARTS = re.compile(r"[\d,.]*\d[\d,.]*| RGB|\([^)]*\)|mask: |: No such file or directory")
NAMED_FILE = re.compile(r"(?:dcn|flows|storage|tests|docs|benchmarks)/[\w./-]+\.(?:py|md|yaml|json|svg|j2)")


@pytest.mark.parametrize("page", generator.pages(), ids=lambda page: page.name)
def test_generated_pages_are_up_to_date(page: Path) -> None:
    assert page.read_text() == generator.pages()[page], "run python -m docs.generator"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_exist(page: Path) -> None:
    named = {token.content for token in inline(page) if token.type == "code_inline"}
    missing = [name for name in named if NAMED_FILE.fullmatch(name) and not (ROOT / name).is_file()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_objects_of_the_reference_exist(page: Path) -> None:
    missing = []
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), flags=re.MULTILINE):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert not missing


def test_the_site_shows_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    listed = set(re.findall(r"[\w/-]+\.md", yaml.dump(yaml.safe_load(text)["nav"])))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}


def test_the_floors_of_flows_are_those_of_the_test_of_imports() -> None:
    page = (ROOT / "docs" / "how-it-works" / "architecture.md").read_text()
    rows = page.partition("## The floors of `flows`")[2].partition("\n## ")[0].splitlines()
    drawn = [tuple(re.findall(r"`(\w+)`", row.split("|")[1])) for row in rows if row.startswith("| `")]
    assert drawn == [floor for floor in reversed(FLOORS) if floor != ("__main__",)]


def test_the_reasons_for_refused_files_are_messages_of_the_code() -> None:
    """The page quotes a message with numbers; its longest part without them stands in the source."""
    page = ROOT / "docs" / "guides" / "inputs.md"
    quoted = [token.content for token in inline(page) if token.type == "code_inline"]
    reasons = [text for text in quoted if len(text) > SHORTEST_REASON and " " in text]
    assert len(reasons) > 10
    known = source_texts()
    missing = [reason for reason in reasons if not any(longest_part(reason) in text for text in known)]
    assert not missing


def test_an_unknown_anchor_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n\n## Size and `cost`, 2\n\n[there](#size-and-cost-2) [not](#size)\n")
    assert anchors(page) == {"a-title", "size-and-cost-2"}
    assert links(page) == ["#size-and-cost-2", "#size"]
    with pytest.raises(AssertionError, match="#size'"):
        test_links_lead_somewhere(page)


def longest_part(reason: str) -> str:
    """The longest part of a message between values, as numbers, and texts of other modules."""
    return max(BETWEEN_PARTS.split(reason), key=len).strip()


def source_texts() -> list[str]:
    """Texts of the code that decodes photographs and masks, without the values that it puts in."""
    modules = [*ROOT.glob("dcn/images/*.py"), *ROOT.glob("dcn/datasets/*.py"), *ROOT.glob("flows/**/*.py")]
    found: list[str] = []
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            texts = [part.value for part in parts if isinstance(part, ast.Constant)]
            found.extend(text for text in texts if isinstance(text, str))
    return found


@cache
def parsed(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def inline(page: Path) -> list[Token]:
    return [child for token in parsed(page) for child in token.children or ()]


def links(page: Path) -> list[str]:
    """Links and pictures of a page that lead to files of this repository."""
    found = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in inline(page)]
    return [link for link in found if link and "://" not in link]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as MkDocs and code hosts derive them."""
    tokens = parsed(page)
    titles = [
        "".join(child.content for child in after.children or ())
        for token, after in pairwise(tokens)
        if token.type == "heading_open"
    ]
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
