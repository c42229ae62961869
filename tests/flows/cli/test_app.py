"""Options of ``dcn`` itself."""

from importlib.metadata import version

from typer.testing import CliRunner

from flows.cli.app import app


def test_version_is_that_of_the_installed_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"dcn {version('dynamic-clustering-network')}\n")
