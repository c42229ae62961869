"""Who may import whom: the arrows between the rooms and between the folders of each, and no circle anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("dcn", "storage", "flows")
# The folders of `flows`, lowest first; docs/how-it-works/architecture.md lists them with the lowest at the bottom. A module imports from its
# own folder and from those above it in this list. Modules beside the folders count as a folder of one module.
FLOORS = (
    ("printable", "errors", "progress", "addresses", "configs"),
    ("settings",),
    ("stage",),
    ("inputs",),
    ("evaluation",),
    ("report",),
    ("stages",),
    ("execution",),
    ("library",),
    ("compare",),
    ("orchestration",),
    ("prefect_ui",),
    ("pipeline",),
    ("cli",),
    ("__main__",),
)
MOST_MODULES = 12


def modules(room: str) -> dict[str, Path]:
    """Modules of a room by their dotted names; a package is its ``__init__``."""
    found = {}
    for path in (ROOT / room).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path], *, late: bool) -> set[str]:
    """Modules of the same room that a module imports; late imports stand inside of functions."""
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text()), late):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            module = target if target in known else target.rpartition(".")[0]
            found |= {module} & known.keys()
    return found - {name}


def _nodes(tree: ast.AST, late: bool) -> Iterator[ast.AST]:
    """The nodes of a module; without ``late`` only those that run, or are type-checked, when it is imported."""
    for child in ast.iter_child_nodes(tree):
        if not late and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue  # an annotation is no arrow
        yield child
        yield from _nodes(child, late)


def graph(room: str, *, late: bool) -> dict[str, set[str]]:
    known = modules(room)
    return {name: imports(name, path, known, late=late) for name, path in known.items()}


def circle(arrows: dict[str, set[str]]) -> list[str] | None:
    """A path that leads from a node back to it, or None."""
    finished: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in finished:
            return None
        for target in sorted(arrows.get(node, ())):
            if found := visit(target, [*path, node]):
                return found
        finished.add(node)
        return None

    return next((found for node in sorted(arrows) if (found := visit(node, []))), None)


def folder(name: str) -> str:
    """The folder of a module below its room, or the module itself where it stands beside the folders."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("room", ROOMS)
def test_no_module_imports_itself_in_a_circle(room: str) -> None:
    assert circle(graph(room, late=True)) is None


@pytest.mark.parametrize("room", ROOMS)
def test_no_folder_imports_itself_in_a_circle(room: str) -> None:
    folders: dict[str, set[str]] = {}
    for name, targets in graph(room, late=True).items():
        if folder(name):
            folders.setdefault(folder(name), set()).update(
                folder(target) for target in targets if folder(target) not in ("", folder(name))
            )
    assert circle(folders) is None


def test_every_folder_of_flows_imports_only_from_lower_ones() -> None:
    level = {name: number for number, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{name} -> {target}"
        for name, targets in graph("flows", late=True).items()
        for target in sorted(targets)
        if folder(name) and folder(target) and folder(name) != folder(target)
        if level[folder(target)] >= level[folder(name)]
    ]
    assert not wrong, wrong


def test_no_floor_of_flows_has_more_than_twelve_modules() -> None:
    floors: dict[Path, int] = {}
    for path in modules("flows").values():
        if path.name != "__init__.py":
            floors[path.parent] = floors.get(path.parent, 0) + 1
    assert max(floors.values()) <= MOST_MODULES, floors


def test_only_prefect_ui_and_pipeline_know_prefect() -> None:
    """Without a server the command line runs everything without Prefect, so nothing of it can fail."""
    for name, path in modules("flows").items():
        tree = ast.parse(path.read_text())
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if "prefect" in names:
            assert name.startswith(("flows.prefect_ui", "flows.pipeline")), name
