"""The page of a run in a real browser: a person clicks, filters, fades, names classes, and reads no error."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from dcn.images.palette import category_palette, region_palette
from flows.evaluation.protocols.kmeans import SEMANTIC
from flows.execution.plan import find_job
from flows.inputs.image_index import open_index
from flows.inputs.region_maps import RegionMaps
from flows.report import picture_files
from flows.settings import Settings
from tests.browser import Tab, chromium
from tests.conftest import draw_photographs
from tests.flows.helpers import changed, mask_folder_of, run_stages, without_truth

pytestmark = pytest.mark.slow

COUNT = 30
BROKEN = 'broken "<b>".jpg'
DRAWN = "[...document.querySelectorAll('#list img')].every((one) => one.naturalWidth > 0)"
SHOWN = "[...document.querySelectorAll('#list .id')].map((one) => one.textContent)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(autouse=True)
def no_errors(tab: Tab) -> Iterator[None]:
    tab.look(1280, 900)
    tab.console.clear()
    yield
    tab.run("0")
    assert not tab.console


@pytest.fixture(scope="module")
def own(tiny_config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Photographs without ground truth, more than a page of the list has, whose pictures are in files of their own."""
    root = draw_photographs(tmp_path_factory.mktemp("own"), COUNT)
    (root / "photos" / BROKEN).write_bytes(b"no")
    settings = Settings.model_validate(
        {
            **tiny_config,
            "dataset": {"name": "folder", **without_truth(root / "photos")},
            "train": {"iterations": 3, "batch_size": 4, "check_every": 3, "num_prototypes": 3},
            "evaluate": {"num_seeds": 1, "num_clusters": 3, "attainable_images": 0},
            "report": {},
            "workspace": str(root / "workspace"),
        }
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(picture_files, "_MOST_BYTES_INSIDE", 1000)
        run_stages(settings)
    return settings


def page_of(settings: Settings) -> Path:
    return Path(find_job(settings).checkpoint("report").location, "files", "report.html")


def classes_of(settings: Settings) -> dict[str, dict[int, int]]:
    """Class of every region by the names of the photographs."""
    job = find_job(settings)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)
    return {
        image.item.id: {region: int(label) for region, label in enumerate(semantic[image.row]) if label >= 0}
        for image in open_index(job).images()
    }


def opened(tab: Tab, settings: Settings) -> None:
    tab.open(page_of(settings))
    tab.wait(DRAWN)


def ids(tab: Tab) -> list[str]:
    return [text.rpartition(": ")[0] for text in tab.run(SHOWN)]


def pixels(tab: Tab, kind: str) -> np.ndarray:
    """Overlay of the first photograph, ``[H, W, 4]``: red, green, blue and opacity."""
    width, height, values = tab.run(
        f"(() => {{ const c = document.querySelector('.picture[data-kind={kind}] canvas');"
        "return [c.width, c.height,"
        "        [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]] })()"
    )
    return np.array(values).reshape(height, width, 4)


def test_all_photographs_are_reached_page_by_page(tab: Tab, own: Settings) -> None:
    assert len(list(page_of(own).parent.glob("pictures-*.js"))) == 2
    opened(tab, own)
    first = ids(tab)
    assert len(first) == 24
    assert tab.run("document.getElementById('count').textContent") == "1 to 24 of 30 photographs"
    tab.click("#next")
    tab.wait(DRAWN)
    assert sorted(first + ids(tab)) == sorted(classes_of(own))
    assert tab.run("document.getElementById('next').disabled")
    tab.click("#previous")
    assert ids(tab) == first


def test_photographs_are_filtered(tab: Tab, own: Settings) -> None:
    opened(tab, own)
    regions = classes_of(own)
    tab.run(
        "Object.assign(document.getElementById('regions'), {value: '2'}).dispatchEvent(new Event('change'))"
    )
    two = {name for name, found in regions.items() if len(found) == 2}
    assert set(ids(tab)) == set(sorted(two)[:24])
    tab.run(
        "Object.assign(document.getElementById('regions'), {value: ''}).dispatchEvent(new Event('change'))"
    )
    label = min(label for found in regions.values() for label in found.values() if label)
    tab.click(f"#legend [data-class='{label}']")
    of_class = sorted(name for name, found in regions.items() if label in found.values())
    assert ids(tab) == of_class[:24]
    assert tab.run(f"document.querySelector('#legend [data-class=\"{label}\"] .number').textContent") == str(
        len(of_class)
    )
    tab.click(f"#legend [data-class='{label}']")
    tab.write("#text", "scene 03")
    assert ids(tab) == ["left/scene 03"]
    tab.run("Object.assign(document.getElementById('text'), {value: ''}).dispatchEvent(new Event('input'))")
    tab.click("#refused")
    refused = tab.run("document.getElementById('list').innerText")
    assert BROKEN in refused
    assert "not an image" in refused
    assert not ids(tab)


def test_a_slider_fades_the_overlays(tab: Tab, own: Settings) -> None:
    opened(tab, own)
    opacity = "Number(getComputedStyle(document.querySelector('.picture canvas')).opacity)"
    assert tab.run(opacity) == 0.6
    tab.click(".fade", right=0.02)
    assert tab.run(opacity) < 0.1


def test_the_mouse_over_a_region_names_it(tab: Tab, own: Settings) -> None:
    opened(tab, own)
    tab.point(".picture[data-kind=regions]")
    tab.wait("!document.getElementById('hint').hidden")
    text = tab.run("document.getElementById('hint').textContent")
    assert "% of the photograph" in text
    region = int(text.split()[1])
    label = classes_of(own)[ids(tab)[0]][region]
    assert ("background" if label == 0 else f"cluster {label}") in text.split(" · ")
    tab.point("h1")
    tab.wait("document.getElementById('hint').hidden")


def test_a_click_enlarges_and_keys_turn_and_close(tab: Tab, own: Settings) -> None:
    opened(tab, own)
    names = ids(tab)
    name = "document.getElementById('enlarged-id').textContent"
    kind = "document.querySelector('#kinds [aria-pressed=true]').dataset.kind"
    tab.click(".picture[data-kind=regions]")
    tab.wait("document.getElementById('enlarged').open")
    assert (tab.run(name), tab.run(kind)) == (names[0], "regions")
    tab.press("ArrowRight")
    assert tab.run(name) == names[1]
    tab.press("ArrowLeft")
    tab.press("ArrowLeft")
    assert tab.run(name) == names[0]
    tab.press("ArrowDown")
    assert tab.run(kind) == "foreground"
    tab.press("ArrowUp")
    tab.press("Escape")
    tab.wait("!document.getElementById('enlarged').open")


def test_a_finger_enlarges_and_names_regions(tab: Tab, own: Settings) -> None:
    tab.look(390, 844, phone=True)
    opened(tab, own)
    assert tab.run("document.documentElement.scrollWidth") <= 390, "the page is wider than a phone"
    tab.tap(".picture[data-kind=classes]")
    tab.wait("document.getElementById('enlarged').open")
    what = "document.getElementById('what').textContent"
    tab.wait(f"{what}.startsWith('region ')")
    before = tab.run(what)
    tab.tap("#large", right=0.03, down=0.03)
    tab.wait(f"{what}.startsWith('region ')")
    assert before
    tab.press("Escape")


def test_a_person_names_the_classes(tab: Tab, own: Settings, tmp_path: Path) -> None:
    opened(tab, own)
    tab.run("localStorage.clear()")
    label = tab.run("document.querySelector('.naming input').dataset.class")
    assert tab.run("document.getElementById('download').disabled")
    name = 'café: "<b>red</b>" # 1'
    tab.write(f".naming input[data-class='{label}']", name)
    assert tab.run(f"document.querySelector('[data-name=\"{label}\"]').textContent") == name
    assert name in tab.run("document.getElementById('legend').innerText")
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.click("#download")
    end = time.monotonic() + 30
    while not (tmp_path / "names.yaml").is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert yaml.safe_load((tmp_path / "names.yaml").read_text()) == {int(label): name}
    opened(tab, own)
    assert name in tab.run("document.getElementById('legend').innerText"), "the name was lost with the page"


def test_classes_of_one_name_become_one_class(tab: Tab, own: Settings) -> None:
    opened(tab, own)
    tab.run("localStorage.clear()")
    opened(tab, own)
    first, second, *_ = tab.run(
        "[...document.querySelectorAll('.naming input')].map((one) => one.dataset.class)"
    )
    before = tab.run("document.querySelectorAll('#legend li').length")
    for label in (first, second):
        tab.write(f".naming input[data-class='{label}']", "disc")
    assert tab.run("document.querySelectorAll('#legend li').length") == before - 1
    tab.click(f"#legend [data-class='{first}']")
    both = {int(first), int(second)}
    assert (
        ids(tab) == sorted(name for name, found in classes_of(own).items() if both & set(found.values()))[:24]
    )
    assert tab.run(
        f"colorTable('classes', 0).every((one) => one === 0 || one !== pixel(classes.get({second}).color))"
    )
    tab.run(f"nameClass({first}, 'Background')")
    assert tab.run(f"standIn({first})") == 0
    tab.run("localStorage.clear()")


def test_names_of_a_file_are_those_of_the_page(tab: Tab, own: Settings, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("1: disc\n2: disc\n")
    named = changed(own, report={"names": str(tmp_path / "names.yaml")})
    ran = run_stages(named)
    assert [stage for stage, result in ran.items() if not result.reused] == ["report"]
    opened(tab, named)
    names = tab.run(
        "[...document.querySelectorAll('#legend li')].map((one) => one.innerText.split('\\n')[0])"
    )
    assert names.count("disc") == 1
    assert "cluster 3" in names
    assert tab.run("document.querySelector('.naming input').value") == "disc"


def test_a_file_of_pictures_that_is_missing_is_named(tab: Tab, own: Settings, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_bytes(page_of(own).read_bytes())
    tab.open(tmp_path / "report.html")
    tab.wait("document.querySelector('.missing')")
    assert tab.run("document.querySelector('.missing').textContent") == (
        "The file pictures-00000.js is missing. Copy it beside this page."
    )
    assert len(tab.console) == 1  # the browser says it as well
    tab.console.clear()


def test_overlays_have_the_colors_of_regions_classes_and_ground_truth(tab: Tab, copy: Settings) -> None:
    opened(tab, copy)
    job = find_job(copy)
    image = open_index(job).image(0)
    regions = RegionMaps.read(job, 0, 1).of(image)
    semantic = job.checkpoint("evaluate").read_values(SEMANTIC)[0]
    foreground = job.checkpoint("segment").array("foreground").rows(0, 1)[0]
    truth = np.asarray(Image.open(mask_folder_of(copy) / f"{image.item.id}.png"))
    palette = np.pad(category_palette(), ((0, 0), (0, 1)), constant_values=255)
    palette[0] = 0  # the background is clear
    of_regions = np.pad(region_palette(), ((0, 0), (0, 1)), constant_values=255)
    expected = {
        "regions": of_regions[regions],
        "classes": palette[np.maximum(semantic, 0)[regions]],
        "truth": palette[truth],
    }
    for kind, colors in expected.items():
        shown = pixels(tab, kind)
        line = (shown == 255).all(axis=2)
        np.testing.assert_array_equal(shown[~line], colors[~line])
        alike = (colors[1:, 1:] == colors[:-1, 1:]).all(axis=2) & (colors[1:, 1:] == colors[1:, :-1]).all(
            axis=2
        )
        np.testing.assert_array_equal(line[1:, 1:], ~alike)
    dark = pixels(tab, "foreground")[..., 3] > 0
    assert dark[~foreground[regions]].all()
    assert "ground truth" in tab.run("document.getElementById('heads').innerText")


def test_the_page_says_how_many_photographs_it_leaves_out(copy: Settings) -> None:
    run_stages(changed(copy, report={"num_photographs": 5}))
    source = page_of(changed(copy, report={"num_photographs": 5})).read_text()
    assert "The list has 5 of 14 photographs. With a larger report.num_photographs it has more." in source
