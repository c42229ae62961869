"""Keys of checkpoints: a stage, its version, the settings that differ from their defaults, and its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from flows.settings import Settings
from flows.stage import Stage
from storage import content_key


def stage_key(stage: Stage, settings: Settings, inputs: Mapping[str, str]) -> str:
    """Compute the key of a stage's checkpoint.

    A setting at its default is no part of the key, whether it is left unset or written out. So a release that
    adds a setting changes no key, and the checkpoints of older releases stay valid. In return, a release that
    changes a default, or its meaning, raises :attr:`flows.stage.Stage.version` of every stage that depends on
    the setting.

    Args:
        stage: the stage.
        settings: resolved settings (:meth:`flows.settings.Settings.resolve`).
        inputs: for each stage that it reads, the identity of that checkpoint.

    """
    changed = changed_settings(
        stage.settings(settings), stage.settings(settings.at_defaults()), stage.always_in_key
    )
    return content_key(
        {"stage": stage.name, "version": stage.version, "settings": changed, "inputs": dict(inputs)}
    )


def changed_settings(
    values: Mapping[str, Any], defaults: Mapping[str, Any], always: Set[str] = frozenset()
) -> dict[str, Any]:
    """Keep the settings that differ from their defaults.

    A value with a ``name`` is an entry of a table with options of its own, such as a segmenter. Its name is
    always kept, because it says which options the entry has; its options are compared one by one.

    Args:
        values: JSON of the settings.
        defaults: JSON of the defaults. A setting that has no default is missing here, and is kept.
        always: names of entries that are kept even if they equal the default.

    Example:
        >>> changed_settings({"segmenter": {"name": "kmeans", "num_regions": 5}, "region_score": "mean"},
        ...                  {"segmenter": {"name": "kmeans", "num_regions": 5}, "region_score": "sum"})
        {'segmenter': {'name': 'kmeans'}, 'region_score': 'mean'}

    """
    changed: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and "name" in value:
            changed[name] = changed_settings(value, defaults.get(name, {}), {"name"})
        elif name in always or name not in defaults or value != defaults[name]:
            changed[name] = value
    return changed
