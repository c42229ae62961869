"""The notebook of the documentation runs from top to bottom, and is committed without results."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tour.ipynb"
SECONDS_OF_A_CELL = 300


def test_the_notebook_has_no_results() -> None:
    notebook = nbformat.reads(NOTEBOOK.read_text(), as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells)


@pytest.mark.real
@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (kernel / "kernel.json").write_text(f'{{"argv": {command}, "display_name": "3", "language": "python"}}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))  # this Python, whatever else is installed
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    notebook = nbformat.reads(NOTEBOOK.read_text(), as_version=4)
    NotebookClient(
        notebook, timeout=SECONDS_OF_A_CELL, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    text = "".join(output.get("text", "") for output in outputs)  # what the cells print
    trained = re.search(r"([\d.]+) -> ([\d.]+)", text)
    assert trained is not None
    assert float(trained[2]) > float(trained[1])
    assert "cluster 4: " in text
    same = re.search(r"([\d.]+)% of the pixels", text)
    assert same is not None
    assert float(same[1]) > 99
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
