"""One odd file or folder per run: it is used, or refused with a reason, and no other photograph is lost.

docs/guides/inputs.md describes the same behavior.
"""

import io
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli.export import export_labels
from flows.evaluation.results import Results
from flows.execution.plan import find_job
from flows.execution.run import compute_shards, run_stage
from flows.inputs.image_index import open_index
from flows.printable import printable
from flows.settings import Settings
from tests.browser import ShownPage
from tests.conftest import draw_scene
from tests.dcn.images.camera_files import heic
from tests.flows.helpers import MakeSettings, changed, run_stages

ROOT = Path(__file__).parents[3]
GOOD = ("first", "second", "third")
# root may read every file, unless it gives up that privilege.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def picture(seed: int = 9) -> Image.Image:
    return Image.fromarray(draw_scene(seed)[0])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


JPEG, PNG = encoded(picture(), "JPEG"), encoded(picture(), "PNG")


def bomb(width: int, height: int) -> bytes:
    """A small PNG whose header claims so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = (header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND")
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def animation(kind: str) -> bytes:
    return encoded(picture(), kind, save_all=True, append_images=[picture(8), picture(7)])


def deep_gray() -> bytes:
    values = np.asarray(picture().convert("L")).astype(np.uint16) * 257
    return encoded(Image.fromarray(values), "PNG")


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)


def transparent_palette() -> bytes:
    image = picture().quantize(16)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


# A program for Ghostscript, which Pillow would run.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print showpage\n%%EOF\n"


@dataclass(frozen=True)
class Case:
    """One change to a folder of three good photographs.

    Attributes:
        put: changes the folder of photographs, or that of masks.
        says: the expected warnings, each a pattern of the whole message.
        used: number of photographs that the change adds to the run.
        lost: number of good photographs that the stages after the index lose.
        later: the change happens after the index was made.
        masks: the data set has ground truth.
        unprivileged: the run must respect file permissions, also as root.
        shown: the report shows at most this number of photographs.

    """

    put: Callable[[Path], object]
    says: tuple[str, ...] = ()
    used: int = 0
    lost: int = 0
    later: bool = False
    masks: bool = False
    unprivileged: bool = False
    shown: int = 6


def file(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def bytes_file(name: bytes, content: bytes) -> Callable[[Path], object]:
    return file(os.fsdecode(name), content)


def mask(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder.parent / "masks" / "second.png").write_bytes(content)


def two(*names: str) -> Callable[[Path], object]:
    def put(folder: Path) -> None:
        for seed, name in enumerate(names):
            picture(20 + seed).save(folder / name)

    return put


def inside(folder_name: str, name: str = "in it.png", content: bytes = PNG) -> Callable[[Path], object]:
    def put(folder: Path) -> None:
        (folder / folder_name).mkdir()
        (folder / folder_name / name).write_bytes(content)

    return put


def linked_outside(folder: Path) -> None:
    outside = folder.parent / "elsewhere.png"
    outside.write_bytes(PNG)
    (folder / "link.png").symlink_to(outside)


def linked_folder(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "elsewhere")
    (folder / "more").symlink_to(folder.parent / "elsewhere")


def unreadable(folder: Path) -> None:
    (folder / "secret.jpg").write_bytes(JPEG)
    (folder / "secret.jpg").chmod(0)


def replaced_by_pipe(folder: Path) -> None:
    (folder / "second.png").unlink()
    os.mkfifo(folder / "second.png")


def missing_mask(folder: Path) -> None:
    (folder.parent / "masks" / "second.png").unlink()


def pipe_as_mask(folder: Path) -> None:
    missing_mask(folder)
    os.mkfifo(folder.parent / "masks" / "second.png")


def socket_file(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket is limited to about 100 characters
    try:
        socket.socket(socket.AF_UNIX).bind("x.jpg")
    finally:
        os.chdir(here)


def film(folder: Path) -> None:
    with (folder / "film.jpg").open("wb") as sparse:
        sparse.truncate(5 << 30)


COPY = r"the file is damaged or incomplete \({}\); copy it again"
NO_IMAGE = "the file is not an image of a known format; convert it to JPEG or PNG, or remove it"
UNLABELLED = "1 of 3 photographs have no usable ground truth; metrics that need it leave them out"
BAD_MASK = r"/.*/masks/second\.png was refused: mask: {}; its photograph counts as one without ground truth"

CASES: dict[str, Case] = {
    # Files that are not photographs, and damaged ones.
    "truncated JPEG": Case(
        file("cut.jpg", JPEG[: len(JPEG) // 2]),
        (rf"cut\.jpg was refused: {COPY.format('image file is truncated .*|.*[Tt]runcated.*')}",),
    ),
    "truncated PNG": Case(
        file("cut.png", PNG[: len(PNG) // 2]),
        (rf"cut\.png was refused: {COPY.format('image file is truncated')}",),
    ),
    "empty": Case(
        file("empty.jpg", b""),
        (r"empty\.jpg was refused: the file is empty; copy it again, or remove it",),
    ),
    "text": Case(file("notes.jpg", b"<script>alert(1)</script>"), (rf"notes\.jpg was refused: {NO_IMAGE}",)),
    "PostScript": Case(file("program.jpg", POSTSCRIPT), (rf"program\.jpg was refused: {NO_IMAGE}",)),
    "decompression bomb": Case(
        file("bomb.png", bomb(60_000, 60_000)),
        (
            r"bomb\.png was refused: it has more than 178,956,970 pixels, like a decompression bomb; make it smaller",
        ),
    ),
    "film": Case(
        film, (r"film\.jpg was refused: it has 5\.4 GB, more than any photograph that can be decoded",)
    ),
    # Sizes.
    "1 x 1": Case(file("dot.png", encoded(Image.new("RGB", (1, 1), "red"), "PNG")), used=1),
    "1 x 10,000": Case(file("line.png", encoded(Image.new("RGB", (1, 10_000), "red"), "PNG")), used=1),
    "10,000 x 1": Case(file("line.png", encoded(Image.new("RGB", (10_000, 1), "red"), "PNG")), used=1),
    "taller than JPEG": Case(file("line.png", encoded(Image.new("RGB", (1, 70_000), "red"), "PNG")), used=1),
    # Its name sorts first. Drawing it takes seconds, so the report shows it alone.
    "60 megapixels": Case(
        lambda folder: Image.new("L", (10_000, 6_000), 99).save(folder / "a large one.png", compress_level=1),
        used=1,
        shown=1,
    ),
    # Kinds.
    "HEIC": Case(file("IMG_0001.HEIC", heic(picture())), used=1),
    "GIF": Case(file("moving.gif", animation("GIF")), used=1),
    "WebP": Case(file("moving.webp", animation("WEBP")), used=1),
    "APNG": Case(file("moving.png", animation("PNG")), used=1),
    "PNG called JPEG": Case(file("x.jpg", PNG), used=1),
    "CMYK": Case(file("print.jpg", encoded(picture().convert("CMYK"), "JPEG")), used=1),
    "16 bits": Case(file("deep.png", deep_gray()), used=1),
    "transparent palette": Case(file("palette.png", transparent_palette()), used=1),
    "turned by EXIF": Case(file("turned.jpg", turned()), used=1),
    "broken EXIF": Case(
        file("x.jpg", encoded(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")), used=1
    ),
    "the same twice": Case(lambda folder: shutil.copy(folder / "first.png", folder / "again.png"), used=1),
    # Not regular files.
    "unreadable": Case(
        unreadable,
        (r"secret\.jpg was refused: Permission denied; give the user that runs this the right to read it",),
        unprivileged=True,
    ),
    "folder called x.jpg": Case(inside("x.jpg"), used=1),
    "empty folder called x.jpg": Case(lambda folder: (folder / "x.jpg").mkdir()),
    "link to a file outside": Case(linked_outside, used=1),
    "link to a folder": Case(
        linked_folder,
        (r"more was refused: it is a link to a folder; such links are not followed, so give that folder .*",),
    ),
    "link to nothing": Case(
        lambda folder: (folder / "x.jpg").symlink_to("nowhere.jpg"),
        (r"x\.jpg was refused: it is a link to a file that does not exist",),
    ),
    "link to itself": Case(
        lambda folder: (folder / "x.jpg").symlink_to("x.jpg"),
        (r"x\.jpg was refused: Too many levels of symbolic links",),
    ),
    "link to a device": Case(
        lambda folder: (folder / "x.jpg").symlink_to("/dev/zero"),
        (r"x\.jpg was refused: it is a device, not a file",),
    ),
    "pipe": Case(
        lambda folder: os.mkfifo(folder / "x.jpg"), (r"x\.jpg was refused: it is a pipe, not a file",)
    ),
    "socket": Case(socket_file, (r"x\.jpg was refused: it is a socket, not a file",)),
    # Changes during the run.
    "vanished": Case(
        lambda folder: (folder / "second.png").unlink(),
        (r"second\.png was left out: it cannot be read any more: No such file or directory",),
        lost=1,
        later=True,
    ),
    "changed": Case(
        file("second.png", PNG),
        (r"second\.png was left out: it was changed after it was indexed; run the pipeline again",),
        lost=1,
        later=True,
    ),
    "replaced by a pipe": Case(
        replaced_by_pipe,
        (r"second\.png was left out: it cannot be read any more: it is a pipe, not a file",),
        lost=1,
        later=True,
    ),
    # Names.
    "blanks and quotes": Case(file('it\'s "a" name.png', PNG), used=1),
    "line break": Case(
        file("two\nlines\r.jpg", b""),
        (r"two\\x0alines\\x0d\.jpg was refused: the file is empty; copy it again, or remove it",),
    ),
    "script": Case(
        inside("<script>alert(1)<", "script>.jpg", b""),
        (r"<script>alert\(1\)</script>\.jpg was refused: the file is empty; .*",),
    ),
    "escape sequence": Case(
        file("\x1b]0;owned\x07\x1b[31m.jpg", b""),
        (r"\\x1b\]0;owned\\x07\\x1b\[31m\.jpg was refused: the file is empty; .*",),
    ),
    "two dots": Case(file("..jpg", PNG), used=1),
    "three dots": Case(file("...png", PNG), used=1),
    "dots inside": Case(file("a..b.png", PNG), used=1),
    "dash in front": Case(file("--output=x.png", PNG), used=1),
    "255 bytes": Case(file(f"{'ä' * 125}a.png", PNG), used=1),
    "255 bytes, twice": Case(two(f"{'a' * 251}.png", f"{'a' * 251}.jpg"), used=2),
    "no UTF-8": Case(bytes_file(b"caf\xe9.png", PNG), used=1),
    "no UTF-8, refused": Case(
        bytes_file(b"caf\xe9.jpg", b""), (r"caf\\xe9\.jpg was refused: the file is empty; .*",)
    ),
    "case": Case(two("FOURTH.png", "fourth.png"), used=2),
    "stems that are names": Case(two("x.jpg", "x.png", "x.jpg.png"), used=3),
    # Masks.
    "mask of another size": Case(
        mask(encoded(Image.new("L", (5, 5)), "PNG")),
        (
            BAD_MASK.format("it has 5 x 5 pixels, its photograph 64 x 48; save it at the photograph's size"),
            UNLABELLED,
        ),
        masks=True,
    ),
    "label that is no class": Case(
        mask(encoded(Image.new("L", (64, 48), 37), "PNG")),
        (BAD_MASK.format("it has label 37; classes are 0-2, and 255 is ignored"), UNLABELLED),
        masks=True,
    ),
    "mask of colors": Case(
        mask(PNG),
        (
            BAD_MASK.format(
                r"its mode is RGB; a mask holds class indices in one channel \(gray or palette\)"
            ),
            UNLABELLED,
        ),
        masks=True,
    ),
    "truncated mask": Case(
        mask(encoded(Image.effect_noise((64, 48), 50), "PNG")[:200]),
        (BAD_MASK.format(COPY.format("image file is truncated")), UNLABELLED),
        masks=True,
    ),
    "missing mask": Case(missing_mask, (UNLABELLED,), masks=True),
    "mask that is a pipe": Case(
        pipe_as_mask, (BAD_MASK.format("it is a pipe, not a file"), UNLABELLED), masks=True
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of three good photographs. Beside it are their masks and the names of the classes."""
    for place in ("photographs", "masks"):
        (tmp_path / place).mkdir()
    for seed, name in enumerate(GOOD):
        pixels, labels = draw_scene(seed)
        Image.fromarray(pixels).save(tmp_path / "photographs" / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("background\nred\nblue\n")
    return tmp_path / "photographs"


def folder_settings(make: MakeSettings, folder: Path, masks: bool = False) -> Settings:
    truth = {"masks": str(folder.parent / "masks"), "classes": str(folder.parent / "classes.txt")}
    return make(
        dataset={"root": str(folder), **(truth if masks else dict.fromkeys(truth))},
        train={"iterations": 2, "batch_size": 2, "check_every": 2},
        evaluate={"num_seeds": 1, "num_clusters": 3, "attainable_images": 0},
    )


@pytest.fixture(scope="module")
def undisturbed(
    tiny_config: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """Tokens of the good photographs, by id, from a run without any change."""
    root = tmp_path_factory.mktemp("undisturbed")
    (root / "photographs").mkdir()
    for seed, name in enumerate(GOOD):
        Image.fromarray(draw_scene(seed)[0]).save(root / "photographs" / f"{name}.png")
    dataset = {"name": "folder", "root": str(root / "photographs")}
    settings = Settings.model_validate({**tiny_config, "dataset": dataset, "workspace": str(root / "w")})
    run_stages(settings, "extract")
    return tokens(settings)


def tokens(settings: Settings) -> dict[str, np.ndarray]:
    job = find_job(settings, "extract")
    array = job.checkpoint("extract").array("tokens")
    return {i.item.id: array.rows(i.row, i.row + 1)[0].astype(np.float32) for i in open_index(job).images()}


def run_unprivileged(settings: Settings, last: str) -> str:
    """Run stages in a process that must respect file permissions, also as root; returns their warnings."""
    if UNPRIVILEGED and shutil.which("setpriv") is None:
        pytest.skip("root reads every file, and there is no setpriv (util-linux) to give that right up")
    code = (
        "import sys\nfrom flows.settings import Settings\nfrom tests.flows.helpers import run_stages\n"
        "results = run_stages(Settings.model_validate_json(sys.stdin.read()), sys.argv[1])\n"
        "print(*(message for result in results.values() for message in result.warnings), sep='\\n')"
    )
    done = subprocess.run(
        [*UNPRIVILEGED, sys.executable, "-c", code, last],
        input=settings.model_dump_json(), cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", CASES)
def test_it_is_used_or_refused_and_no_other_photograph_is_lost(
    name: str, folder: Path, tiny_settings: MakeSettings, undisturbed: dict[str, np.ndarray], tmp_path: Path
) -> None:
    case = CASES[name]
    settings = changed(
        folder_settings(tiny_settings, folder, case.masks), report={"num_photographs": case.shown}
    )
    if case.later:
        results = run_stages(settings, "index")
        job = find_job(settings)
        case.put(folder)
        for stage in job.keys:
            results.setdefault(stage, run_stage(job, stage, compute_shards, lambda _: None))
    else:
        case.put(folder)
        if case.unprivileged:
            run_unprivileged(settings, "report")
        results, job = run_stages(settings), find_job(settings)

    first, count = results["extract" if case.later else "index"], 3 + case.used - case.lost
    said = [message for stage in ("index", "extract") for message in results[stage].warnings]
    assert len(said) == len(case.says), said
    for message, pattern in zip(said, case.says, strict=True):
        assert re.fullmatch(pattern, message), message
    assert first.manifest.summary["images"] == count
    assert first.manifest.summary["refused"] == sum(message != UNLABELLED for message in said)
    assert Results.from_manifest(results["evaluate"].manifest).images == count
    assert results["report"].manifest.summary["photographs"] == min(count, case.shown)

    # The regions of every photograph are exported under its own name, and nowhere else.
    output = tmp_path / "exported"
    if case.later:  # an export would refuse the changed data set
        assert ((job.checkpoint("segment").array("area").rows(0, 3) > 0).any(axis=1)).sum() == count
    else:
        assert export_labels(settings, "regions", output) == count
        assert len([path for path in tmp_path.rglob("*.png") if output in path.parents]) == count
        assert all((output / f"{good}.png").is_file() for good in GOOD)
        found = tokens(settings)
        for good in GOOD:
            np.testing.assert_allclose(found[good], undisturbed[good], atol=0.02)
        assert len(found) == count

    page = ShownPage(job.checkpoint("report").read_file("report.html").decode())
    assert not page.runs_something
    for image in islice(open_index(job).images(), case.shown):
        if not (case.later and image.item.id == "second"):
            assert f"{printable(image.item.id)}\n" in page.text
    for message in said:
        if " was refused: " in message:
            what, _, reason = message.partition(" was refused: ")
            assert reason in page.text
            assert what in page.text.replace("\n", "\\x0a")


def test_a_folder_without_read_permission_is_reported(folder: Path, tiny_settings: MakeSettings) -> None:
    (folder / "private").mkdir()
    (folder / "private" / "fourth.png").write_bytes(PNG)
    (folder / "private").chmod(0)
    settings = folder_settings(tiny_settings, folder)
    said = run_unprivileged(settings, "index")
    (folder / "private").chmod(0o700)
    assert (
        said == "private was refused: Permission denied; give the user that runs this the right to read it\n"
    )


def test_a_data_set_without_read_permission_is_an_error(folder: Path, tiny_settings: MakeSettings) -> None:
    folder.chmod(0)
    with pytest.raises(AssertionError, match=r"the folder .*photographs cannot be read: Permission denied"):
        run_unprivileged(folder_settings(tiny_settings, folder), "index")
    folder.chmod(0o700)
