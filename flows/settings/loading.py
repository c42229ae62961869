"""Loading of settings from a configuration, given by its file or name, with overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dcn.did_you_mean import did_you_mean
from dcn.options import expand_path
from flows.errors import InvalidSettingsError
from flows.settings import Settings
from flows.settings.mistakes import describe_mistakes

_CONFIGS = Path(__file__).parent.parent / "configs"


def load_settings(
    config: str | Path, overrides: list[str] | None = None, workspace: str | None = None
) -> Settings:
    """Load the settings of a configuration, and apply overrides.

    Args:
        config: path of a YAML file, or the name of a configuration that comes with the package.
        overrides: each ``section.name=value``, the value in YAML.
        workspace: location of the workspace; None takes that of the configuration.

    Raises:
        InvalidSettingsError: a setting is wrong. The message has its name, its value and the allowed values.

    Example:
        >>> load_settings("sample", ["train.iterations=50"]).train.iterations
        50

    """
    values = _read_yaml(_find_config(config))
    for override in overrides or []:
        _apply(values, override)
    if workspace is not None:
        values["workspace"] = workspace
    return validate(values, str(config))


def validate(values: dict[str, Any], source: str) -> Settings:
    """Validate the sections of a configuration.

    Args:
        values: values by section and name.
        source: name of the configuration, for the error message.

    Raises:
        InvalidSettingsError: a setting is wrong. The message has the source, the name of the setting, its
            value and the allowed values.

    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidSettingsError(f"{source}: {describe_mistakes(error)}") from error


def config_names() -> list[str]:
    """Return the names of the configurations that come with the package."""
    return sorted(path.stem for path in _CONFIGS.glob("*.yaml"))


def _find_config(config: str | Path) -> Path:
    name, path = str(config), Path(expand_path(str(config)))
    if path.is_file():
        return path
    if name in config_names():
        return _CONFIGS / f"{name}.yaml"
    if path.is_dir():
        raise InvalidSettingsError(
            f"{config} is a folder, not a configuration; `dcn init {config} > mine.yaml` writes one for the "
            f"photographs in it"
        )
    beside = [str(path.parent / found.name) for found in path.parent.glob("*.y*ml")]
    raise InvalidSettingsError(
        f"there is no configuration {config}; give a YAML file or one of {', '.join(config_names())}"
        f"{did_you_mean(name, [*config_names(), *beside])}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettingsError(f"{path} is not readable YAML: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise InvalidSettingsError(
            f"{path} holds a {type(values).__name__}; write sections of settings, as in 'train: {{seed: 1}}'"
        )
    return values or {}


def _apply(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name:
        raise InvalidSettingsError(f"--set {override}: write section.name=value")
    change(values, name, read_value(f"--set {override}", text))


def change(values: dict[str, Any], name: str, value: Any) -> None:
    """Change one setting.

    Args:
        values: values by section and name, changed in place.
        name: ``section.name`` of the setting.
        value: its new value.

    Raises:
        InvalidSettingsError: a part of the name should be a section and is a value.

    """
    *sections, last = name.split(".")
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise InvalidSettingsError(f"{name}: {section} is not a section; write section.name")
    target[last] = value


def read_value(source: str, text: str) -> Any:
    """Parse a value in YAML.

    Args:
        source: where the value comes from, for the error message.
        text: the value.

    Raises:
        InvalidSettingsError: the text is not YAML.

    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidSettingsError(f"{source}: the value is not YAML: {error}") from error
