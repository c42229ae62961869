"""A stage is described in one place."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli.app import app
from flows.execution.plan import STAGES
from flows.pipeline import FLOWS
from flows.stages import STAGE_TABLE

ROOT = Path(__file__).parent.parent.parent.parent


def test_the_table_names_every_stage() -> None:
    assert [(entry.name, entry.class_name) for entry in STAGE_TABLE] == [
        (name, type(stage).__name__) for name, stage in STAGES.items()
    ]


@pytest.mark.parametrize(("stage", "description"), [(entry.name, entry.description) for entry in STAGE_TABLE])
def test_command_and_flow_show_it(stage: str, description: str) -> None:
    shown = CliRunner().invoke(app, [stage, "--help"], env={"COLUMNS": "200"}).stdout
    assert description in shown
    assert (FLOWS[stage].description or "").startswith(description)


def test_deployments_take_the_description_of_their_flow() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert not [deployment["entrypoint"] for deployment in deployments if "description" in deployment]
