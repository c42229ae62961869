"""Reading settings: a configuration by its file or name, with overrides, and errors that say what to do."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flows.errors import InvalidSettingsError
from flows.settings import Settings

_PACKAGE = "dynamic-clustering-network"
_CONFIGS = Path(__file__).parent.parent / "configs"


def load_settings(
    config: str | Path, overrides: list[str] | None = None, workspace: str | None = None
) -> Settings:
    """Read a configuration.

    Args:
        config: a YAML file, or the name of a configuration that comes with the package.
        overrides: ``section.name=value`` each, the value in YAML.
        workspace: instead of the configuration's.

    Raises:
        InvalidSettingsError: with the name of the setting, its value and what is allowed.

    """
    values = _read_yaml(_find_config(config))
    for override in overrides or []:
        _apply(values, override)
    if workspace is not None:
        values["workspace"] = workspace
    return validate(values, str(config))


def validate(values: dict[str, Any], source: str) -> Settings:
    """Settings from their sections.

    Raises:
        InvalidSettingsError: with the source, the name of the setting, its value and what is allowed.

    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidSettingsError(f"{source}: {_describe(error)}") from error


def config_names() -> list[str]:
    """Names of the configurations that come with the package."""
    return sorted(path.stem for path in _CONFIGS.glob("*.yaml"))


def _describe(error: ValidationError) -> str:
    """One line per wrong setting: its name, what is wrong, its value."""
    lines = []
    for problem in error.errors():
        # The tag of a union is in the location (dataset.voc2012.root); the user wrote dataset.root.
        place = [str(part) for part in problem["loc"]]
        for union in (["dataset"], ["segment", "segmenter"]):
            if place[: len(union)] == union and len(place) > len(union):
                place.pop(len(union))
        shown = "" if problem["type"] == "missing" else f", not {problem['input']!r}"
        # A setting of a newer version, or a slip of the pen: who reads it knows which.
        unknown = f" (dcn {version(_PACKAGE)} has no such setting)" * (problem["type"] == "extra_forbidden")
        lines.append(f"{'.'.join(place)}: {problem['msg']}{shown}{unknown}")
    return "\n".join(lines)


def _find_config(config: str | Path) -> Path:
    path = Path(config)
    if path.is_file():
        return path
    packaged = _CONFIGS / f"{config}.yaml"
    if str(config) in config_names():
        return packaged
    raise InvalidSettingsError(
        f"there is no configuration {config}; give a YAML file or one of {', '.join(config_names())}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettingsError(f"{path} is not readable YAML: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise InvalidSettingsError(f"{path} holds a {type(values).__name__}, not sections of settings")
    return values or {}


def _apply(values: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name:
        raise InvalidSettingsError(f"--set {override}: write section.name=value")
    change(values, name, read_value(f"--set {override}", text))


def change(values: dict[str, Any], name: str, value: Any) -> None:
    """Change one setting of the sections.

    Args:
        values: the sections, changed in place.
        name: ``section.name``.
        value: new.

    Raises:
        InvalidSettingsError: what should be a section is none.

    """
    *sections, last = name.split(".")
    target = values
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise InvalidSettingsError(f"{name}: {section} is no section")
    target[last] = value


def read_value(source: str, text: str) -> Any:
    """A value in YAML.

    Raises:
        InvalidSettingsError: with its source.

    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidSettingsError(f"{source}: the value is not YAML: {error}") from error
