"""What is wrong with the value of a setting, in a person's words instead of pydantic's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

# Checkpoints, the tasks of workers and Prefect's parameters are JSON, which has no other texts.
NOT_UNICODE = "its name is not Unicode (UTF-8); rename it, or make a link (ln -s) with another name"
# By the type of pydantic's error, with the values of its context.
_WORDS = {
    "missing": "it is missing; give it a value",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_parsing_size": "write a smaller number",
    "int_from_float": "write a whole number",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "finite_number": "write a finite number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "string_type": "write a text; a number, true, false and null need quotes to be one",
    "string_unicode": NOT_UNICODE,
    "path_type": "write a path; a number, true, false and null need quotes to be one",
    "greater_than_equal": "write a number of at least {ge}",
    "greater_than": "write a number above {gt}",
    "less_than_equal": "write a number of at most {le}",
    "less_than": "write a number below {lt}",
    "literal_error": "write {expected}",
    "list_type": "write a list, as in [1, 2]",
    "tuple_type": "write a list, as in [1, 2]",
    "dict_type": "write names with values, as in {{seed: 1}}",
    "model_type": "write names with values, as in {{seed: 1}}",
    "model_attributes_type": "write names with values, as in {{seed: 1}}",
    "too_short": "write a list of at least {min_length}",
    "too_long": "write a list of at most {max_length}",
    "union_tag_invalid": "write a name out of {expected_tags}",
    "union_tag_not_found": "give it a name: {discriminator}",
    "extra_forbidden": "there is no such setting",
}
_WITHOUT_VALUE = ("missing", "union_tag_not_found", "extra_forbidden")
# Of a value that is longer, the message shows the beginning.
_LONGEST = 80


def problem_in_words(problem: ErrorDetails) -> str:
    """Say what to write instead of a wrong value, and what the value is.

    Args:
        problem: one of the errors of a pydantic ``ValidationError``.

    Example:
        >>> from pydantic import TypeAdapter, ValidationError
        >>> try:
        ...     TypeAdapter(int).validate_python("many")
        ... except ValidationError as error:
        ...     print(problem_in_words(error.errors()[0]))
        write a whole number, not 'many'

    """
    context: Mapping[str, Any] = problem.get("ctx", {})
    if problem["type"] == "value_error":
        said = str(context["error"])
    else:
        words = _WORDS.get(problem["type"])
        said = problem["msg"] if words is None else words.format(**context)
    return f"{said}{_not_this(problem)}"


def _not_this(problem: ErrorDetails) -> str:
    """Show the wrong value, unless there is none or the problem is between the settings of a section."""
    value = problem.get("ctx", {}).get("tag", problem["input"])
    section = problem["type"] == "value_error" and isinstance(value, dict)
    if section or problem["type"] in _WITHOUT_VALUE:
        return ""
    if value is None:
        return "; it is empty"
    shown = repr(value) if isinstance(value, str) else _as_written(value)
    return f", not {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...'}"


def _as_written(value: Any) -> str:
    """Write a value as a configuration does: true, not True."""
    return json.dumps(value, default=str)
