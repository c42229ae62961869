"""Untrusted weights, checkpoints, configurations and names run no code and write only inside their folders."""

import ast
import contextlib
import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dcn.datasets import FolderDataset, VOC2012Dataset
from dcn.datasets.dataset import Item
from dcn.errors import (
    DCNError,
    InvalidDatasetError,
    InvalidMaskError,
    InvalidModelFileError,
    WeightsUnavailableError,
)
from dcn.model_file import load_model
from dcn.weights.pretrained import read_state_dict
from flows.cli.export import export_labels
from flows.cli.output_files import output_path
from flows.cli.predict import result_names
from flows.errors import FlowError, InvalidSettingsError
from flows.execution.plan import find_job
from flows.settings import Settings
from flows.settings.loading import load_settings
from storage import (
    ArraySpec,
    Checkpoint,
    CheckpointDamagedError,
    Manifest,
    StorageError,
    Workspace,
    content_key,
)
from storage.stores.files import write_atomically

ROOT = Path(__file__).parent.parent
KEY = "0" * 32

# -- no pickle, no eval ----------------------------------------------------------------------------------

# These functions run code from their input, whatever name they are imported by.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "_pickle.load", "_pickle.loads",
    "cloudpickle.load", "cloudpickle.loads", "dill.load", "dill.loads", "joblib.load", "marshal.load",
    "marshal.loads", "shelve.open", "pandas.read_pickle",
    "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.Loader", "yaml.UnsafeLoader",
    "os.system", "os.popen", "subprocess.getoutput",
}  # fmt: skip
# These functions run code from their input unless an argument forbids it.
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
    "numpy.lib.format.read_array": ("allow_pickle", False),
}


def dangerous_calls(source: str) -> Iterator[str]:
    """Find calls that could run code from their input; resolves the names that the file imports them by."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {name.asname: name.name for name in node.names if name.asname}
        elif isinstance(node, ast.ImportFrom):
            known |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        first, dot, rest = ast.unparse(node.func).partition(".")
        name = known.get(first, first) + dot + rest
        options = {option.arg: option.value for option in node.keywords}
        if name in FORBIDDEN:
            yield name
        if name in ONLY_WITH:
            option, wanted = ONLY_WITH[name]
            value = options.get(option)
            if not (isinstance(value, ast.Constant) and value.value is wanted):
                yield f"{name} without {option}={wanted}"
        shell = options.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield f"{name} with shell"


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "import pickle\npickle.load(file)",
        "from pickle import loads as read\nread(content)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.lib.format.read_array(file)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=chosen)",
        "from torch import load\nload(path, weights_only=False)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import subprocess\nsubprocess.run(text, shell=True)",
    ],
)
def test_dangerous_calls_are_found(source: str) -> None:
    assert list(dangerous_calls(source))


def test_our_code_has_no_dangerous_calls() -> None:
    files = [
        path for room in ("dcn", "storage", "flows", "benchmarks") for path in (ROOT / room).rglob("*.py")
    ]
    assert len(files) > 80
    assert {str(path): calls for path in files if (calls := list(dangerous_calls(path.read_text())))} == {}


class Attack:
    """An object that makes a file when it is unpickled, which proves that its code ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.marker,)


def torch_file(attack: Attack) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": attack}, buffer)
    return buffer.getvalue()


def old_torch_file(attack: Attack) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": attack}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def numpy_file(attack: Attack) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([attack], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def numpy_archive(attack: Attack) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([attack], dtype=object))
    return buffer.getvalue()


Payload = Callable[[Attack], bytes]
PAYLOADS: tuple[Payload, ...] = (pickle.dumps, torch_file, old_torch_file, numpy_file, numpy_archive)


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The file that a successful attack would make. The fixture asserts at the end that it does not exist."""
    path = tmp_path / "was-run"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_payload_runs_code_in_a_careless_reader(payload: Payload, tmp_path: Path) -> None:
    """Otherwise the tests below would prove nothing."""
    path = tmp_path / "attack"
    path.write_bytes(payload(Attack(tmp_path / "was-run")))
    if payload is pickle.dumps:
        pickle.loads(path.read_bytes())
    elif "numpy" in payload.__name__:
        found = np.load(path, allow_pickle=True)
        assert found["x"] is not None if payload is numpy_archive else True
    else:
        torch.load(path, weights_only=False)
    assert (tmp_path / "was-run").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
class TestMaliciousFilesAreRefused:
    @pytest.mark.parametrize("suffix", ["pth", "bin", "safetensors"])
    def test_as_weights(self, payload: Payload, suffix: str, marker: Path, tmp_path: Path) -> None:
        path = tmp_path / f"weights.{suffix}"
        path.write_bytes(payload(Attack(marker)))
        with pytest.raises(WeightsUnavailableError, match="cannot be read as weights"):
            read_state_dict(path)

    def test_as_a_model(self, payload: Payload, marker: Path, tmp_path: Path) -> None:
        path = tmp_path / "dcn.safetensors"
        path.write_bytes(payload(Attack(marker)))
        with pytest.raises(InvalidModelFileError, match="is not a trained DCN"):
            load_model(path)

    def test_as_an_array_of_a_checkpoint(self, payload: Payload, marker: Path, tmp_path: Path) -> None:
        checkpoint = Workspace(tmp_path).checkpoint("evaluate", KEY)
        checkpoint.write_file("semantic.npy", payload(Attack(marker)))
        with pytest.raises(CheckpointDamagedError, match=r"semantic\.npy is not an array"):
            checkpoint.read_values("semantic.npy")

    def test_as_a_manifest_and_a_record(self, payload: Payload, marker: Path, tmp_path: Path) -> None:
        checkpoint = Workspace(tmp_path).checkpoint("evaluate", KEY)
        (Path(checkpoint.location) / "shards").mkdir(parents=True)
        (Path(checkpoint.location) / "manifest.json").write_bytes(payload(Attack(marker)))
        (Path(checkpoint.location) / "shards" / "000000.json").write_bytes(payload(Attack(marker)))
        with pytest.raises(CheckpointDamagedError, match=r"manifest\.json is no manifest"):
            checkpoint.read_manifest()
        with pytest.raises(CheckpointDamagedError, match="is no record of shard 0"):
            checkpoint.read_record(0)

    def test_as_a_photograph_and_its_mask(self, payload: Payload, marker: Path, tmp_path: Path) -> None:
        from dcn.images.photograph import decode_mask, decode_photograph

        for decode in (decode_photograph, decode_mask):
            with pytest.raises(DCNError, match="not an image of a known format"):
                decode(payload(Attack(marker)))


def test_a_configuration_runs_no_code(marker: Path, tmp_path: Path) -> None:
    config = tmp_path / "attack.yaml"
    config.write_text(f"!!python/object/apply:os.mkdir ['{marker}']\n")
    with pytest.raises(
        InvalidSettingsError, match="is not readable YAML: line 1: the tag .* has no meaning here; remove it"
    ):
        load_settings(config)
    with pytest.raises(InvalidSettingsError, match="the value is not YAML"):
        load_settings("sample", [f"train.seed=!!python/object/apply:os.mkdir ['{marker}']"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arrays": [{"name": "../../../owned"}]}, "has an array '../../../owned'"),
        ({"arrays": [{"name": "/tmp/owned"}]}, "has an array '/tmp/owned'"),
        ({"arrays": [{"name": "tokens", "dtype": "O"}]}, "has an array 'tokens' of 'O'"),
        ({"arrays": [{"name": "tokens", "dtype": "no type"}]}, "is no manifest"),
        ({"key": "1" * 32}, "is that of 'extract'/'1111"),
        ({"stage": "../extract"}, r"is that of '\.\./extract'"),
        ({"rows": -1}, "has -1 rows"),
        ({"shard_rows": 0}, "rows in shards of 0"),
        ({"rows": "many"}, "is no manifest"),
        ({"owned": True}, "is no manifest"),
    ],
)
def test_a_manifest_that_no_stage_could_have_written_is_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    """An incomplete checkpoint is continued with the manifest on disk, which decides where data are written."""
    checkpoint = Workspace(tmp_path / "w").checkpoint("extract", KEY)
    manifest = Manifest("extract", KEY, {}, {}, 2, 2, (ArraySpec("tokens", (3,), "float16", ("patch",)),))
    checkpoint.begin(manifest)
    path = Path(checkpoint.location) / "manifest.json"
    content = json.loads(path.read_text())
    for name, value in change.items():
        content[name] = [{**content["arrays"][0], **value[0]}] if name == "arrays" else value
    del content["digest"]  # an attacker can compute the digest, too
    path.write_text(json.dumps({**content, "digest": content_key(content)}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StorageError, match=reason):
        checkpoint.begin(manifest)
    assert sorted(tmp_path.rglob("*")) == before


# -- no name leads out of its folder ---------------------------------------------------------------------

HOSTILE = (
    "..", ".", "", "../x", "../../x", "a/../../x", "/tmp/x", "//x", "~", "~root/x", "a/./../..", "a\0b", "\0",
    "..\\x", "C:\\x", "C:x", "\\\\host\\x", "CON", "x" * 300, "ä" * 200, "x/" * 100, "-rf", "--output=/x", "a\nb",
    "\udcff", "\udcff" * 300, "\ud800", "$(touch x)", "`x`", "%2e%2e/x", "..%00", ".. ", "...", "manifest.json",
)  # fmt: skip
# With lone surrogates: Python uses them for file names that are not UTF-8.
ANY_TEXT = st.text(st.characters(), max_size=40)
names = st.one_of(
    st.sampled_from(HOSTILE),
    ANY_TEXT,
    st.lists(st.one_of(st.sampled_from(("..", ".", "", "a", "\udcff")), ANY_TEXT), max_size=6).map("/".join),
)
many = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


def everything(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if not path.is_dir()}


def is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


@many
@given(stage=names, key=st.one_of(names, st.just(KEY)))
def test_a_checkpoint_stays_inside_its_workspace(tmp_path: Path, stage: str, key: str) -> None:
    try:
        checkpoint = Workspace(tmp_path / "w").checkpoint(stage, key)
    except ValueError:
        return
    assert Path(checkpoint.location) == tmp_path / "w" / stage / key
    assert is_inside(Path(checkpoint.location), tmp_path / "w")


@many
@given(name=names)
def test_a_file_stays_inside_its_checkpoint(tmp_path: Path, name: str) -> None:
    checkpoint: Checkpoint = Workspace(tmp_path / "w").checkpoint("evaluate", KEY)
    try:
        checkpoint.write_file(name, b"x")
    except ValueError:
        return
    folder = Path(checkpoint.location)
    assert (folder / "files" / name).read_bytes() == b"x"
    assert all(path.parent in (folder / "files", folder / "digests") for path in everything(tmp_path))


@many
@given(name=names, suffix=st.sampled_from((".png", "-overlay.jpg")))
def test_an_output_file_stays_inside_its_folder(tmp_path: Path, name: str, suffix: str) -> None:
    """Also on the disk: no file appears outside of the folder."""
    output = tmp_path / "out"
    try:
        path = output_path(output, name, suffix)
    except FlowError:
        return
    assert is_inside(path.parent, output)
    assert len(os.fsencode(path.name)) <= 255
    with contextlib.suppress(OSError):  # the name of a folder is too long, or is already the name of a file
        write_atomically(path, b"x")
    assert all(is_inside(found, output) for found in everything(tmp_path))


@many
@given(images=st.lists(names.filter(lambda name: "\0" not in name), max_size=6))
def test_predictions_stay_inside_their_folder_and_have_distinct_names(
    tmp_path: Path, images: list[str]
) -> None:
    output = tmp_path / "out"
    stems = [Path(image).stem for image in images]
    try:
        written = [output_path(output, name, ".png") for name in result_names(stems)]
    except FlowError:  # a surrogate that no byte corresponds to
        return
    assert all(path.parent == output and path.name not in (".", "..") for path in written)
    assert len({path.name.casefold() for path in written}) == len(images)


def test_long_names_are_shortened_and_stay_distinct(tmp_path: Path) -> None:
    first, second = (output_path(tmp_path, f"a/{'ä' * 127}{last}", "-overlay.jpg") for last in "xy")
    assert first != second
    assert first.parent == second.parent == tmp_path / "a"
    for path in (first, second):
        assert path.name.startswith("ää")
        write_atomically(path, b"x")


def test_an_output_replaces_a_symbolic_link_and_not_its_target(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / "x.png").symlink_to(tmp_path / "precious")
    write_atomically(output_path(tmp_path / "out", "x", ".png"), b"labels")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "out" / "x.png").read_bytes() == b"labels"
    (tmp_path / "out" / "away").symlink_to(tmp_path)
    with pytest.raises(FlowError, match="its name leads elsewhere"):
        output_path(tmp_path / "out", "away/x", ".png")


@many
@given(name=names)
def test_an_item_stays_inside_its_data_set(tmp_path: Path, name: str) -> None:
    for item_id, image in ((name, "x.jpg"), ("x", name)):
        try:
            item = Item(item_id, image, None, ())
        except InvalidDatasetError:
            continue
        for path in (item.id, item.image):
            assert Path(os.path.normpath(tmp_path / path)).is_relative_to(tmp_path)


# -- lists, masks and classes of data sets ---------------------------------------------------------------


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A data set of one photograph, and a private picture beside it."""
    folder = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "JPEGImages" / "a.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / "private.jpg")
    for split in ("train", "val"):
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("a\n")
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name",
    [
        "../../../../private",
        "../../private.jpg",
        "/etc/passwd",
        "/JPEGImages/../../private.jpg",
        "..",
        "a\0b",
    ],
)
def test_a_voc_list_cannot_name_files_outside_of_the_data_set(voc: Path, name: str) -> None:
    path = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text(f"a\n{name}\n")
    with pytest.raises(InvalidDatasetError, match="which would lie outside its folder; use a name, or"):
        list(VOC2012Dataset(voc).items())


def test_a_voc_list_that_is_not_text_is_refused(voc: Path) -> None:
    path = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(InvalidDatasetError, match=r"val\.txt is not a text file with one id per line"):
        list(VOC2012Dataset(voc).items())


def test_symbolic_links_to_photographs_are_followed(voc: Path, tmp_path: Path) -> None:
    """The user made them on purpose: many people keep their photographs on another disk."""
    photograph = voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / "a.jpg"
    photograph.unlink()
    photograph.symlink_to(tmp_path / "private.jpg")
    dataset = VOC2012Dataset(voc)
    (item,) = dataset.items()
    assert (dataset.root / item.image).resolve() == tmp_path / "private.jpg"


def test_a_device_as_mask_and_control_characters_in_class_names_are_refused(tmp_path: Path) -> None:
    for folder in ("photographs", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "photographs" / "a.png")
    (tmp_path / "masks" / "a.png").symlink_to("/dev/zero")
    (tmp_path / "classes.txt").write_text("background\nthing\x1b[31m\n")
    arguments = (tmp_path / "photographs", tmp_path / "masks", tmp_path / "classes.txt")
    with pytest.raises(InvalidDatasetError, match="remove its control character"):
        FolderDataset(*arguments)
    (tmp_path / "classes.txt").write_text("background\nthing\n")
    dataset = FolderDataset(*arguments)
    with pytest.raises(InvalidMaskError, match="it is a device, not a file"):
        dataset.read_mask(next(dataset.items()), 3, 4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../../owned", "/tmp/owned", "a/../../../owned", "x\0", "away/owned"])
def test_an_export_stays_inside_its_folder_with_a_malicious_index(
    copy: Settings, tmp_path: Path, name: str
) -> None:
    """The attacker changes the records of an index together with their digests."""
    index = find_job(copy).checkpoint("index")
    record = index.read_record(0)
    record.info["images"][0]["id"] = name
    index.write_shard(index.require(), 0, {}, record.info, 0.0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "away").symlink_to(tmp_path)
    before = everything(tmp_path)
    with pytest.raises((InvalidDatasetError, FlowError), match="outside its folder|leads elsewhere"):
        export_labels(copy, "regions", tmp_path / "out")
    assert everything(tmp_path) == before
