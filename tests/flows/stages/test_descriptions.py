"""A stage is described in one place."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli.app import app
from flows.execution.plan import STAGES
from flows.pipeline import FLOWS
from flows.stages.descriptions import DESCRIPTIONS

ROOT = Path(__file__).parent.parent.parent.parent


def test_every_stage_has_a_description() -> None:
    assert list(DESCRIPTIONS) == list(STAGES)


@pytest.mark.parametrize(("stage", "description"), DESCRIPTIONS.items())
def test_command_and_flow_show_it(stage: str, description: str) -> None:
    shown = CliRunner().invoke(app, [stage, "--help"], env={"COLUMNS": "200"}).stdout
    assert description in shown
    assert FLOWS[stage].description.startswith(description)


def test_deployments_take_the_description_of_their_flow() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert not [deployment["entrypoint"] for deployment in deployments if "description" in deployment]
