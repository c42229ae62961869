"""The three rooms, and what may lie about in them."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

import dcn
from dcn.datasets import DATASETS
from dcn.options import Options
from flows.cli.app import app
from flows.execution.process import SPIN_COUNT
from flows.settings import Settings

ROOT = Path(__file__).parent.parent
ROOMS = ("dcn", "storage", "flows")
# dcn: tensors in, tensors out. storage: knows nothing of segmentation or of Prefect.
FORBIDDEN = {
    "dcn": {"storage", "flows", "zarr", "tensorstore", "prefect", "dask", "distributed"},
    "storage": {"dcn", "flows", "prefect", "dask", "distributed", "torch", "timm"},
    "flows": set(),
}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module.split(".")[0])
    return names


# Names of `dcn` that open what the pipeline left. They are imported when they are first used.
SHOP_WINDOW = {ROOT / "dcn" / "__init__.py": {"flows"}}
FROM_THE_PIPELINE = {"load", "open_run"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert imported(path) & FORBIDDEN[room] == SHOP_WINDOW.get(path, set()), path


def test_only_two_names_of_the_method_need_the_pipeline() -> None:
    """No module is named in a text, either: a late import by its name would escape the test above."""
    for path in (ROOT / "dcn").rglob("*.py"):
        texts = {
            node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
        }
        named = {
            text for text in texts if isinstance(text, str) and re.fullmatch(r"(flows|storage)(\.\w+)*", text)
        }
        assert named == ({"flows.library"} if path in SHOP_WINDOW else set()), path
    lazy = {name for name, module in dcn._MODULE_OF.items() if module.startswith("flows")}
    assert lazy == FROM_THE_PIPELINE


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom flows.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'prefect', 'zarr', 'sklearn', 'matplotlib', 'tensorstore', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# Says what OpenMP is going to read when PyTorch is imported.
WATCH = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("spins", os.environ.get("GOMP_SPINCOUNT"))
sys.meta_path.insert(0, Watch())
"""
IN_WORKER = """
from flows.execution.runners import _compute, version_here
print("not yet")
try: _compute({}, "extract", [], version_here())
except KeyError: pass
import torch
"""
COMMAND = """
from flows.cli.app import app
print("not yet")
try: app(["predict", "x.jpg", "--model", "gone", "--output", "here"])
except SystemExit: pass
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import dcn, flows, dcn.network", "spins None"),
        (COMMAND, "not yet spins 10000"),
        (IN_WORKER, "not yet spins 10000"),
        ("import benchmarks.training_step", "spins 10000"),
    ],
    ids=["library", "command line", "worker of Dask", "benchmark"],
)
def test_openmp_is_told_how_to_wait_before_pytorch_is_imported(code: str, said: str) -> None:
    """In processes of our own; who imports the library decides alone."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    run = subprocess.run(
        [sys.executable, "-c", WATCH + code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == said.split()


def test_processes_of_deployments_are_told_the_same() -> None:
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    pools = {json.dumps(deployment["work_pool"]) for deployment in content["deployments"]}
    assert [json.loads(pool)["job_variables"]["env"]["GOMP_SPINCOUNT"] for pool in pools] == [SPIN_COUNT]


# The docstrings of options show in the forms of deployments.
MAY_NAME_SETTINGS = {"dcn/segmenters/network.py"}


def setting_names() -> set[str]:
    """``section.option`` of every setting."""
    sections = {name: [type(getattr(Settings(), name))] for name in Settings.model_fields}
    sections["dataset"] = list(DATASETS)
    return {
        f"{section}.{option}"
        for section, kinds in sections.items()
        for kind in kinds
        if issubclass(kind, Options)
        for option in kind.model_fields
    }


@pytest.mark.parametrize("room", ["dcn", "storage"])
def test_lower_rooms_do_not_speak_of_the_command_line(room: str) -> None:
    """Their errors name parameters; :mod:`flows.errors` adds the setting and the command."""
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    commands = set(program.commands)
    options = "|".join(sorted(map(re.escape, setting_names())))
    spoken = re.compile(rf"--set\b|\bdcn ({'|'.join(commands)})\b|(?<![\w./])({options})(?![\w.])")
    for path in (ROOT / room).rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in MAY_NAME_SETTINGS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = spoken.search(node.value)
                assert found is None, f"{path}:{node.lineno} says {found[0] if found else ''!r}"
