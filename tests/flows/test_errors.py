"""Errors of the lower rooms name parameters; a person reads the setting and the command."""

import pickle
from pathlib import Path

import pytest

from dcn.backbone import Backbone
from dcn.errors import DCNError, InvalidOptionError, UnknownModelError, WeightsUnavailableError
from flows.errors import describe_error, name_parameters
from flows.execution.plan import find_job
from flows.inputs.models import load_backbone
from flows.settings import Settings
from storage import CheckpointDamagedError, CheckpointMissingError, Workspace


def test_the_setting_behind_a_parameter_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "gone.pth"
    with pytest.raises(WeightsUnavailableError) as caught:
        Backbone.from_preset("dino-s8", missing)
    assert str(caught.value) == describe_error(caught.value) == f"there is no weights file {missing}"
    settings = Settings.model_validate({"backbone": {"weights": str(missing), "device": "cpu"}})
    with pytest.raises(WeightsUnavailableError) as caught:
        load_backbone(settings)
    assert describe_error(caught.value) == f"there is no weights file {missing} (setting backbone.weights)"
    with pytest.raises(UnknownModelError) as unknown:
        find_job(Settings.model_validate({"backbone": {"name": "no-such-vit"}}))
    assert describe_error(unknown.value).endswith(" (setting backbone.name)")


def test_the_innermost_context_names_the_parameter() -> None:
    with (
        pytest.raises(DCNError) as caught,
        name_parameters("setting dataset.{}"),
        name_parameters("setting embed.size"),
    ):
        raise InvalidOptionError("input size 5 is not a multiple of 4", parameter="input_size")
    assert describe_error(caught.value) == "input size 5 is not a multiple of 4 (setting embed.size)"


def test_an_error_without_a_parameter_stays_as_it_is() -> None:
    with pytest.raises(DCNError) as caught, name_parameters("setting train.{}"):
        raise DCNError("the tokens are not finite")
    assert describe_error(caught.value) == "the tokens are not finite"


def test_an_error_of_another_process_keeps_its_setting() -> None:
    with pytest.raises(DCNError) as caught, name_parameters("option --{}"):
        raise WeightsUnavailableError("there is no file x", parameter="weights")
    received = pickle.loads(pickle.dumps(caught.value))
    assert received.parameter == "weights"
    assert describe_error(received) == "there is no file x (option --weights)"


def test_errors_of_checkpoints_name_the_command_that_helps(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissingError) as missing:
        Workspace(tmp_path).checkpoint("extract", "0" * 32).require()
    for error in (missing.value, pickle.loads(pickle.dumps(missing.value))):
        assert describe_error(error).endswith(" does not exist. `dcn extract` computes it")
    damaged = describe_error(CheckpointDamagedError("digest"))
    assert damaged.startswith("digest. `dcn workspace verify --repair` forgets what is damaged")
