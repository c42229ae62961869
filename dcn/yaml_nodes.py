"""YAML 1.2 of configurations and of names of clusters, as nodes with the lines that they stand in.

ruamel.yaml parses. Errors are its errors, in words for a person.
"""

from __future__ import annotations

from itertools import accumulate

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError

# Levels of names and lists in each other that a file may have.
DEEPEST = 20
# Nobody writes as much. The parser needs seconds for a text of this length.
_MOST_CHARACTERS = 50_000
# Open ones, those in quotes included: the parser needs a second for some hundred.
_MOST_BRACKETS = 100
# What the parser says, and the same for a person.
_PROBLEMS = (
    ("found character '\\t'", "a tab stands where YAML wants blanks; write blanks"),
    (
        "mapping values are not allowed",
        "a second ': ' in the line, or a wrong indentation; quote such a text",
    ),
    ("could not find expected ':'", "a name without ': ' after it"),
    ("expected <block end>", "the indentation differs from that of the lines above"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing"),
    ("the node content", "a value is missing, or a bracket is not closed"),
    ("unexpected end of stream", "a quotation mark is not closed"),
    ("that cannot start any token", "a text cannot begin with this character; put it in quotes"),
    (
        "found undefined alias",
        "a text cannot begin with *, which stands for a value named &; put it in quotes",
    ),
    ("scanning an alias", "a text cannot begin with *; put it in quotes"),
    ("scanning an anchor", "a text cannot begin with &; put it in quotes"),
    ("expected a single document", "a second document begins here (---); write one document"),
)


def compose_yaml(text: str) -> Node | None:
    """Parse a YAML document to its tree of nodes; None for an empty one.

    A node has the text of its value as it is written, and its line.

    Raises:
        ValueError: the text is no such document; the message has the line, and what to do.

    Example:
        >>> compose_yaml("3: no").value[0][1].value
        'no'

    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, more than a person writes")
    if max(accumulate(map(_bracket, text)), default=0) > _MOST_BRACKETS:
        raise _too_deep()
    try:
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: a character that no text has; remove it") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"line {mark.line + 1 if mark else 1}: {_in_words(error)}") from error
    except RecursionError as error:
        raise _too_deep() from error
    except (YAMLError, ValueError, LookupError, AttributeError, AssertionError) as error:
        raise ValueError(f"it is not YAML ({str(error).partition(chr(10))[0]})") from error
    return node


def _bracket(character: str) -> int:
    return (character in "[{") - (character in "]}")


def _too_deep() -> ValueError:
    return ValueError(f"its values are nested deeper than {DEEPEST} levels")


def _in_words(error: MarkedYAMLError) -> str:
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    return next((words for begin, words in _PROBLEMS if begin in said), said or "this is not YAML")
