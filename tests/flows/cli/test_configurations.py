"""``dcn settings`` and ``dcn init``: what can be written into a configuration, and a first one."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dcn.datasets import DATASETS
from dcn.options import Options
from dcn.segmenters import SEGMENTERS
from flows.cli.app import app
from flows.settings import Settings
from flows.settings.loading import load_settings


def dcn(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})


def words(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


class TestSettings:
    """Every setting, those of a section, one."""

    def test_all_settings_are_shown_with_default_and_meaning(self) -> None:
        shown = words(dcn("settings"))
        defaults = [field.default for field in Settings.model_fields.values()]
        sections = [type(default) for default in defaults if isinstance(default, Options)]
        kinds: list[type[Options]] = [*sections, *DATASETS, *SEGMENTERS, Settings]
        for section in kinds:
            for name, field in section.model_fields.items():
                assert name in shown
                if field.description:
                    assert field.description.replace("``", "").partition(" ")[0] in shown
        assert "iterations integer ≥ 1 2500 Number of iterations of the optimizer." in shown
        assert "root path required Folder of the photographs" in shown

    @pytest.mark.parametrize(
        ("name", "held", "left_out"),
        [
            ("train", "learning_rate", "device"),
            ("dataset", "classes", "device"),
            ("segment", "border_background", "device"),
            ("segment.segmenter", "border_background", "smallest_part"),
            ("runner", "ca_file", "device"),
            ("train.iterations", "Number of iterations of the optimizer", "learning_rate"),
            ("workspace", "Place of the checkpoints", "shard_images"),
        ],
    )
    def test_a_section_or_a_setting_can_be_named(self, name: str, held: str, left_out: str) -> None:
        shown = words(dcn("settings", name))
        assert held in shown
        assert left_out not in shown

    @pytest.mark.parametrize(
        ("name", "meant"),
        [("trian", "train"), ("train.iteratons", "train.iterations"), ("iteratons", "iterations")],
    )
    def test_a_mistyped_name_is_answered_with_the_right_one(self, name: str, meant: str) -> None:
        result = dcn("settings", name)
        assert result.exit_code == 1
        assert f"there is no setting or section {name}; did you mean {meant}?" in result.stderr


class TestInit:
    """The configuration is valid as it is, and says what is in the folder."""

    @pytest.fixture
    def photographs(self, tmp_path: Path) -> Path:
        folder = tmp_path / "my: 'photographs' # ü"
        for name in ("a/one.jpg", "a/two.png", "three.jpg"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(folder / name)
        (folder / "notes.txt").write_text("not a photograph")
        return folder

    def written(self, folder: Path, tmp_path: Path) -> tuple[str, Settings]:
        result = dcn("init", folder)
        assert result.exit_code == 0, result.stderr
        config = tmp_path / "mine.yaml"
        config.write_text(result.stdout)
        return result.stdout, load_settings(config)

    def test_photographs_without_masks(self, photographs: Path, tmp_path: Path) -> None:
        text, settings = self.written(photographs, tmp_path)
        assert text.startswith("# 3 photographs in this folder\n")
        assert settings.dataset.model_dump(mode="json") == {
            "name": "folder", "root": str(photographs), "masks": None, "classes": None,
        }  # fmt: skip
        assert (settings.backbone.name, settings.train.iterations, settings.train.patience) == (
            "focus-s14",
            300,
            3,
        )
        assert settings.evaluate.num_clusters == 10
        settings.resolve()
        assert "# masks: " in text

    def test_what_is_at_its_default_changes_no_key(self, photographs: Path, tmp_path: Path) -> None:
        """Only what a folder of few photographs needs differs from the defaults."""
        _, settings = self.written(photographs, tmp_path)
        changed = {
            f"{section}.{name}"
            for section in ("train", "segment", "report")
            for name, value in getattr(settings, section).model_dump().items()
            if value != getattr(Settings(), section).model_dump()[name]
        }
        assert changed == {"train.iterations", "train.batch_size", "train.check_every", "train.patience"}

    @pytest.mark.parametrize(
        ("images", "masks"), [("", "masks"), ("images", "labels"), ("images", "../masks")]
    )
    @pytest.mark.parametrize("named", [True, False])
    def test_masks_inside_or_beside_are_found(
        self, images: str, masks: str, named: bool, photographs: Path, tmp_path: Path
    ) -> None:
        root = photographs / images
        for name in ("four.jpg", "b/five.jpg", "b/six.jpg"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(root / name)
            mask = (photographs / masks / name).with_suffix(".png")
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(mask)
        if images == "":  # of one photograph there is a mask as well: of four in six
            Image.new("L", (8, 8)).save(photographs / masks / "three.png")
        classes = (photographs / masks).parent / "classes.txt"
        if named:
            classes.write_text("background\nthing\n")
        text, settings = self.written(photographs, tmp_path)
        count, masked = (6, 4) if images == "" else (3, 3)
        assert text.startswith(f"# {count} photographs in this folder, {masked} of them with a mask\n")
        dataset = settings.dataset.model_dump()
        assert (dataset["root"], dataset["masks"].resolve()) == (root, (photographs / masks).resolve())
        assert dataset["classes"].resolve() == classes.resolve()
        assert settings.evaluate.num_clusters is None
        assert ("write this file" in text) != named
        if named:
            listed = list(settings.dataset.open().items())
            assert (len(listed), sum(item.mask is not None for item in listed)) == (count, masked)

    def test_more_photographs_train_for_longer(self, photographs: Path, tmp_path: Path) -> None:
        for number in range(200):
            (photographs / f"{number}.jpg").write_bytes(b"")
        assert self.written(photographs, tmp_path)[1].train.iterations == 600

    @pytest.mark.parametrize(
        ("name", "message"), [("gone", "there is no folder"), ("", "there is no image in")]
    )
    def test_no_folder_and_no_photographs(self, name: str, message: str, tmp_path: Path) -> None:
        result = dcn("init", tmp_path / name)
        assert result.exit_code == 1
        assert message in result.stderr
        assert result.stdout == ""
