"""The code of the Python guide runs, from top to bottom, in a folder with a run and a photograph."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from flows.settings import Settings
from tests.conftest import draw_scene

ROOT = Path(__file__).parent.parent


@pytest.mark.real
def test_the_code_of_the_guide_runs(
    finished: Settings, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    Image.fromarray(draw_scene(21)[0]).save("photo.jpg")
    shutil.copy(tiny_weights, "vit.safetensors")
    code = "\n".join(
        re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/python.md").read_text(), re.DOTALL)
    )
    assert code.count("dcn.") >= 5
    exec(compile(code, "docs/guides/python.md", "exec"), {})
    assert Image.open("regions.png").size == (64, 48)
