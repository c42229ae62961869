"""YAML 1.2 as configurations use it: names, texts, numbers, truth values, lists, and the line of each name.

This module builds the values of the nodes, because YAML has more than a configuration needs: objects, dates,
merging. A name is always text, as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dcn.yaml_nodes import DEEPEST, compose_yaml
from flows.errors import InvalidSettingsError

Place = tuple[str, ...]

# No configuration is as large. Aliases of aliases can stand for any number of values.
_MOST_VALUES = 10_000
_TAG = "tag:yaml.org,2002:"
# The core schema of YAML 1.2 (section 10.3.2). A plain scalar that matches nothing is text: no, 1:30.
_CORE: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,18}"), int),
    (re.compile(r"0o[0-7]{1,20}"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]{1,15}"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: float("nan")),
)


@dataclass(frozen=True)
class Document:
    """Values of a YAML document.

    Attributes:
        values: names with values, a list, or one value; None for an empty document.
        lines: for each name, as a path of names from the top, the line that it stands in, from 1.
        end: number of characters up to the end of the last value.

    """

    values: Any
    lines: dict[Place, int]
    end: int


def read_yaml(text: str) -> Document:
    """Read a YAML document strictly: a name that occurs twice, a tag or a merge is an error.

    Raises:
        InvalidSettingsError: the text is no such document; the message begins with the line.

    Example:
        >>> read_yaml("train: {seed: 010, schedule: no}").values
        {'train': {'seed': 10, 'schedule': 'no'}}

    """
    try:
        node = compose_yaml(text)
    except ValueError as error:
        raise InvalidSettingsError(str(error)) from error
    if node is None:
        return Document(None, {}, 0)
    builder = _Builder()
    return Document(builder.value(node, ()), builder.lines, node.end_mark.index)


@dataclass
class _Builder:
    """Builds the values of a document from its nodes, and notes the lines of the names."""

    lines: dict[Place, int] = field(default_factory=dict)
    _count: int = 0

    def value(self, node: Node, place: Place) -> Any:
        self._count += 1
        if self._count > _MOST_VALUES:
            raise _problem(node, f"more than {_MOST_VALUES:,} values; aliases (*name) repeat them")
        if len(place) > DEEPEST:
            raise _problem(node, f"values are nested deeper than {DEEPEST} levels")
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, place)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.value(item, (*place, str(i))) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and kind in _SCALARS:
            return _scalar(node, kind)
        raise _problem(node, f"the tag {str(node.tag)[:60]} has no meaning here; remove it")

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, ScalarNode):
                raise _problem(key, "the name of a setting is a text, not a list and not names with values")
            name = str(key.value)
            here = (*place, name)
            if str(key.tag) == f"{_TAG}merge":
                raise _problem(key, "YAML 1.2 does not merge (<<); write the settings out")
            if name in found:
                raise _problem(
                    key, f"{'.'.join(here)} is there twice, first in line {self.lines[here]}; remove one"
                )
            self.lines[here] = key.start_mark.line + 1
            found[name] = self.value(item, here)
        return found


# What ruamel.yaml takes for a type beside the core schema is text here.
_SCALARS = frozenset({"str", "null", "bool", "int", "float", "timestamp", "value", "merge"})


def _scalar(node: ScalarNode, kind: str) -> Any:
    """The value of a scalar: of a quoted one its text, of a plain one what the core schema says."""
    text = str(node.value)
    if node.style in ("'", '"', "|", ">") or kind == "str":
        return text
    return next((read(text) for pattern, read in _CORE if pattern.fullmatch(text)), text)


def _problem(node: Node, words: str) -> InvalidSettingsError:
    return InvalidSettingsError(f"line {node.start_mark.line + 1}: {words}")
