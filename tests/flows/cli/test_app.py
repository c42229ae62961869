"""Options of ``dcn`` itself."""

from importlib.metadata import version
from inspect import signature

from typer.testing import CliRunner

from flows.cli.app import app, predict
from flows.settings import SegmentSettings


def test_version_is_that_of_the_installed_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"dcn {version('dynamic-clustering-network')}\n")


def test_predict_has_the_defaults_of_the_settings() -> None:
    options, settings = signature(predict).parameters, SegmentSettings()
    for name in ("refine", "smallest_part"):
        assert options[name].default == getattr(settings, name)
