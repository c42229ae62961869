"""The pictures of the README and of the guides are current: `make pictures` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.pictures.drawing import KEYS, complete, keys
from docs.pictures.table import CREDITS, FOLDER, PICTURES, Picture
from flows.settings.loading import load_settings

ROOT = Path(__file__).parent.parent
MOST_BYTES = 100_000


def test_they_show_the_results_of_the_settings_and_stages_of_today(tmp_path: Path) -> None:
    """The keys of checkpoints are the same on every machine, which their last pixels are not."""
    complete(load_settings("sample", workspace=str(tmp_path)), "index")
    assert json.loads(KEYS.read_text()) == keys(str(tmp_path)), "run make pictures"


def test_every_file_is_in_the_table_and_small() -> None:
    files = {picture.file for picture in PICTURES}
    assert set(FOLDER.glob("*.jpg")) == files
    assert all(file.stat().st_size < MOST_BYTES for file in files)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_a_page_shows_it_and_gives_credit(picture: Picture) -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    showing = [page for page in pages if f"pictures/{picture.name}.jpg" in page.read_text()]
    assert showing
    for page in showing:
        text = " ".join(page.read_text().split())
        assert all(CREDITS[name] in text for name in picture.photographs)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.name)
def test_it_is_a_picture(picture: Picture) -> None:
    pixels = np.asarray(Image.open(picture.file))
    assert pixels.shape[2] == 3
    assert pixels.std() > 20
