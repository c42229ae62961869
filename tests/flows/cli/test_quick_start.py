"""Commands that compute nothing start at once: they import neither PyTorch nor any other heavy library.

One process runs all of them, so a command may not even profit from the imports of an earlier one.
"""

import json
import os
import subprocess
import sys

import pytest
import yaml

from flows.settings import Settings

# Each takes from 0.2 s to several seconds to import.
HEAVY = (
    "torch", "torchvision", "timm", "scipy", "sklearn", "skimage", "sknetwork", "matplotlib", "numba", "prefect",
    "dask", "distributed", "zarr", "tensorstore", "open_clip", "huggingface_hub",
)  # fmt: skip
CODE = """
import json, sys
from flows.cli.app import app
heavy = set(json.loads(sys.argv[1]))
for name, arguments in json.loads(sys.argv[2]).items():
    try:
        app(arguments)
    except SystemExit as end:
        print(json.dumps([name, end.code, sorted(heavy & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def ended(finished: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str]]]:
    """Exit code of each command, and the heavy libraries that are imported after it."""
    folder = tmp_path_factory.mktemp("commands")
    config, empty = folder / "tiny.yaml", folder / "empty"
    config.write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    empty.mkdir()
    run = ["run", str(config)]
    commands = {
        "settings": ["settings"],
        "init": ["init", str(finished.model_dump()["dataset"]["root"])],
        "status": ["status", str(config)],
        "results": ["results", str(config)],
        "results --json": ["results", str(config), "--json"],
        "workspace list": ["workspace", "list", "--workspace", finished.workspace],
        "workspace list CONFIG": ["workspace", "list", str(config)],
        "workspace prune": ["workspace", "prune", str(config)],
        "export, up to its first read": ["export", str(config), "--output", str(folder), "--workspace", str(empty)],
        "no workspace": ["status", str(config), "--workspace", str(folder / "gone")],
        "wrong path": ["run", str(folder / "gone.yaml")],
        "wrong folder": [*run, "--set", f"dataset.root={folder / 'gone'}"],
        "empty folder": [*run, "--set", f"dataset={{name: folder, root: {empty}}}"],
        "wrong weights": [*run, "--set", f"backbone.weights={folder / 'gone.pth'}"],
        "unknown backbone": [*run, "--set", "backbone.name=dino-s88"],
        "unknown setting": [*run, "--set", "train.iteratons=3"],
        "unknown setting of a comparison": ["compare", str(config), "--set", "trian.iterations=3"],
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(HEAVY), json.dumps(commands)],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('["')]
    assert [line[0] for line in lines] == list(commands), result.stderr
    return {name: (code, heavy) for name, code, heavy in lines}


def test_they_import_nothing_heavy(ended: dict[str, tuple[int, list[str]]]) -> None:
    assert {name: heavy for name, (_, heavy) in ended.items() if heavy} == {}


def test_they_end_as_they_should(ended: dict[str, tuple[int, list[str]]]) -> None:
    failed = [name for name, (code, _) in ended.items() if code]
    assert failed == list(ended)[list(ended).index("export, up to its first read") :]
