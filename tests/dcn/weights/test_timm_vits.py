"""The names that are read from timm's source are those that timm has."""

import timm

from dcn.weights.presets import find_preset
from dcn.weights.timm_vits import timm_vits

MODULES = ("vision_transformer", "eva")


def test_they_are_the_architectures_of_timms_modules() -> None:
    theirs = {name for module in MODULES for name in timm.list_models(module=module)}
    assert theirs == {name for name in timm_vits() if "." not in name}


def test_the_weights_belong_to_them() -> None:
    assert {name.partition(".")[0] for name in timm_vits()} <= timm_vits()


def test_all_weights_that_timm_can_load_are_found() -> None:
    """Some are not in its source: a loop adds them."""
    theirs = {name for module in MODULES for name in timm.list_models(module=module, pretrained=True)}
    assert theirs - timm_vits()
    for name in theirs:
        assert find_preset(name).timm_name == name
