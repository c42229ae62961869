"""The pages on extending the project, literally: their code goes into a copy of the source, and the sample runs.

A segmenter, a data set, a protocol and a stage are each one module and one line in a table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image

from dcn.datasets import SampleDataset
from tests.conftest import draw_scene

ROOT = Path(__file__).parent.parent
PAGES = ("add-a-segmenter", "add-a-data-set", "add-a-protocol", "add-a-stage")
BLOCK = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.real, pytest.mark.slow]


def apply(page: str, source: Path) -> tuple[list[str], list[str]]:
    """Apply the code of a page to a copy of the source; returns the files that are new and those that changed."""
    added, changed = [], []
    for name, code in BLOCK.findall((ROOT / "docs" / "guides" / f"{page}.md").read_text()):
        file = source / name
        if not file.exists():
            file.write_text(code)
            added.append(name)
            continue
        *imported, entry = code.splitlines()  # no import where the table holds names of classes
        text = file.read_text()
        for line in imported:
            first_import = text.index("from ")
            text = text[:first_import] + line + "\n" + text[first_import:]
        table_end = text.index("\n)\n")
        file.write_text(text[:table_end] + "\n" + entry + text[table_end:])
        changed.append(name)
    return added, changed


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source in which all pages were followed."""
    source = tmp_path_factory.mktemp("extended")
    for room in ("dcn", "flows", "storage"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for page in PAGES:
        added, changed = apply(page, source)
        assert (len(added), len(changed)) == (1, 1), page
    return source


def dcn(source: Path, *arguments: object) -> str:
    """Run the command line of the copy."""
    run = subprocess.run(
        [sys.executable, "-m", "flows", *map(str, arguments)],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_new_entries_take_part_in_runs_and_comparisons_of_the_sample(extended: Path, tmp_path: Path) -> None:
    options = ["--workspace", tmp_path / "workspace", "--set", "compare.segmenters=[stripes, kmeans]"]
    options += ["--set", "compare.num_regions=[3]"]
    table = dcn(extended, "compare", "sample", *options)
    assert "stripes, k = 3" in table
    assert "largest" in table
    (comparison,) = (tmp_path / "workspace" / "compare").glob("*/files/comparison.json")
    rows = {row["name"]: row for row in json.loads(comparison.read_text())}
    # 28 rows of patches give stripes of 10, 9 and 9.
    assert rows["stripes, k = 3"]["regions_per_image"] == 3
    assert rows["stripes, k = 3"]["largest_region"] == pytest.approx(10 / 28, abs=0.005)
    page = dcn(
        extended, "run", "sample", *options, "--set", "segment.segmenter={name: stripes, num_regions: 3}"
    )
    assert "largest region" in page


def test_a_new_stage_has_a_command_and_a_checkpoint(extended: Path, tmp_path: Path) -> None:
    dcn(extended, "brightness", "sample", "--workspace", tmp_path / "w")
    (folder,) = (tmp_path / "w" / "brightness").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["complete"]
    brightness = np.asarray(zarr.open_array(folder / "arrays" / "brightness", mode="r"))
    dataset = SampleDataset()
    expected = [
        np.asarray(Image.open(dataset.root / item.image).convert("RGB")).mean() for item in dataset.items()
    ]
    np.testing.assert_allclose(brightness, expected, rtol=1e-5)


def test_a_new_data_set_is_read_with_its_masks(extended: Path, tmp_path: Path) -> None:
    folder = tmp_path / "paired"
    folder.mkdir()
    (folder / "classes.txt").write_text("background\nred\nblue\n")
    for seed in range(4):
        pixels, mask = draw_scene(seed)
        Image.fromarray(pixels).save(folder / f"scene {seed}.jpg")
        Image.fromarray(mask).save(folder / f"scene {seed}.mask.png")
    options = ["--workspace", tmp_path / "w", "--set", f"dataset={{name: paired, root: {folder}}}"]
    dcn(extended, "index", "sample", *options)
    (manifest,) = (tmp_path / "w" / "index").glob("*/manifest.json")
    summary = json.loads(manifest.read_text())["summary"]
    assert (summary["images"], summary["labelled"], summary["refused"]) == (4, 4, 0)
    assert summary["class_names"] == ["background", "red", "blue"]
    assert summary["train_split"] == "all"
