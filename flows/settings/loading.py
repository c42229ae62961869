"""Loading of settings from a configuration, given by its file or name, with overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dcn.did_you_mean import did_you_mean
from dcn.images.files import read_file
from dcn.options import Options, expand_path
from dcn.text_files import decode_text
from flows.errors import InvalidSettingsError
from flows.printable import NOT_UNICODE, is_unicode
from flows.settings import Settings
from flows.settings.mistakes import describe_mistakes, source_of
from flows.settings.yaml_text import Place, read_yaml

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
        InvalidSettingsError: a setting is wrong. The message has its line, its name, its value and what to
            write.

    Example:
        >>> load_settings("sample", ["train.iterations=50"]).train.iterations
        50

    """
    values, sources = _read_config(_find_config(config), str(config))
    for override in overrides or []:
        place = tuple(_apply(values, override).split("."))
        sources = {other: line for other, line in sources.items() if other[: len(place)] != place}
        sources[place] = "--set"
    if workspace is not None:
        values["workspace"] = workspace
        sources["workspace",] = "--workspace"
    return validate(values, str(config), sources)


def validate(values: dict[str, Any], source: str, sources: Mapping[Place, str] | None = None) -> Settings:
    """Validate the sections of a configuration. A section without any setting has its defaults.

    Args:
        values: values by section and name.
        source: name of the configuration, for the error message.
        sources: where single settings stand, such as a line of the configuration, for the error message.

    Raises:
        InvalidSettingsError: a setting is wrong. The message has the source, the name of the setting, its
            value and what to write.

    """
    for place, text in _not_unicode(values):
        where = f"{source_of(place, source, sources or {})}: {'.'.join(place)}"
        raise InvalidSettingsError(f"{where}: {text}: {NOT_UNICODE}")
    try:
        return Settings.model_validate(_without_empty_sections(values, Settings))
    except ValidationError as error:
        raise InvalidSettingsError(describe_mistakes(error, source, sources or {})) from error


def _not_unicode(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Find the texts with surrogates, which Python makes of bytes that are no UTF-8."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_unicode(inner, (*place, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _not_unicode(inner, (*place, str(number)))
    elif isinstance(value, str | Path) and not is_unicode(str(value)):
        yield place, str(value)


def _without_empty_sections(values: dict[str, Any], section: type[Options]) -> dict[str, Any]:
    """Leave out sections that have no settings, such as ``train:`` alone; they have their defaults."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        known = section.model_fields.get(name)
        inner = known.default if known is not None else None
        if not isinstance(inner, Options):
            kept[name] = value
        elif value is not None:
            nested = isinstance(value, dict)
            kept[name] = _without_empty_sections(value, type(inner)) if nested else value
    return kept


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


def _read_config(path: Path, source: str) -> tuple[dict[str, Any], dict[Place, str]]:
    """Read a configuration. Returns its values, and for each name the source and its line."""
    try:
        document = read_yaml(decode_text(read_file(path)))
    except OSError as error:
        raise InvalidSettingsError(f"{source} cannot be read: {error.strerror}") from error
    except (ValueError, InvalidSettingsError) as error:
        raise InvalidSettingsError(f"{source} is not readable YAML: {error}") from error
    values = document.values
    if values is not None and not isinstance(values, dict):
        kind = "a list" if isinstance(values, list) else f"the single value {values!r}"
        raise InvalidSettingsError(
            f"{source} holds {kind}; write sections of settings, as in 'train: {{seed: 1}}'"
        )
    return values or {}, {place: f"{source}, line {line}" for place, line in document.lines.items()}


def _apply(values: dict[str, Any], override: str) -> str:
    """Change the setting of an override; returns its name."""
    name, separator, text = override.partition("=")
    name = name.strip()
    if not separator or not all(name.split(".")):
        raise InvalidSettingsError(f"--set {override}: write section.name=value")
    change(values, name, read_value(f"--set {override}", text))
    return name


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
        if target.get(section) is None:  # missing, or a section without settings
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise InvalidSettingsError(f"{name}: {section} is not a section; write section.name")
    target[last] = value


def read_value(source: str, text: str) -> Any:
    """Parse a value in YAML.

    Args:
        source: where the value comes from, for the error message.
        text: the value.

    Raises:
        InvalidSettingsError: the text is not YAML, not Unicode, or a part of it is a comment.

    """
    if not is_unicode(text):
        raise InvalidSettingsError(f"{source}: {NOT_UNICODE}")
    try:
        document = read_yaml(text)
    except InvalidSettingsError as error:
        raise InvalidSettingsError(f"{source}: the value is not YAML: {error}") from error
    if text[document.end :].strip():
        raise InvalidSettingsError(f"{source}: in YAML a comment begins with #; put the value in quotes")
    return document.values
