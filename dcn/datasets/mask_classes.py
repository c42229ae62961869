"""The classes of masks whose values are no class indices, from names that a person gives to the values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from dcn.class_names import BACKGROUND
from dcn.errors import InvalidDatasetError, InvalidMaskError
from dcn.images.files import read_file
from dcn.images.mask_values import MaskValues, value_code
from dcn.images.photograph import decode_mask, labels_of
from dcn.text_files import has_control_character

_IGNORE = "ignore"
# Masks that are read to tell a person which values they hold.
_SAMPLED = 8
_FEW = 12


def check_mask_values(names: dict[str, str]) -> dict[str, str]:
    """Check the values of masks and their class names, as a setting gives them.

    Raises:
        ValueError: a value is no number and no color, or occurs twice; a name has a control character.

    """
    codes: dict[int, str] = {}
    for text, name in names.items():
        code = value_code(text)
        if code in codes:
            raise ValueError(f"{codes[code]!r} and {text!r} are the same value; name its class once")
        codes[code] = text
        if has_control_character(name):
            raise ValueError(f"the class name {name!r} has a control character; remove it")
    MaskValues(dict.fromkeys(codes, 0))
    return names


def mask_class_names(names: Mapping[str, str]) -> tuple[str, ...]:
    """List the classes that the values of masks name: the background first, the others by their values.

    The order of the names does not count, because not every store of settings keeps it.

    Raises:
        InvalidDatasetError: there is no background, or no other class, or too many.

    """
    if not names:
        return ()
    ordered = [names[text] for text in sorted(names, key=value_code)]
    classes = [name for name in dict.fromkeys(ordered) if name not in (BACKGROUND, _IGNORE)]
    if BACKGROUND not in ordered or not 1 <= len(classes) <= 254:
        raise InvalidDatasetError(
            f"mask_values names the classes {', '.join(dict.fromkeys(ordered[:5]))}; without a file of class "
            f"names it needs background and 1 to 254 others",
            parameter="mask_values",
        )
    return (BACKGROUND, *classes)


def map_values(names: Mapping[str, str], class_names: tuple[str, ...], ignore_label: int) -> MaskValues:
    """Replace the class name of each value by its index; ``ignore`` becomes the ignore label.

    Raises:
        InvalidDatasetError: there is no such class.

    """
    unknown = [name for name in names.values() if name not in (*class_names, _IGNORE)]
    if unknown:
        raise InvalidDatasetError(
            f"mask_values names the class {unknown[0]!r}; the classes are {', '.join(class_names)}, and "
            f"{_IGNORE} leaves pixels out",
            parameter="mask_values",
        )
    index = {_IGNORE: ignore_label} | {name: number for number, name in enumerate(class_names)}
    return MaskValues({value_code(text): index[name] for text, name in names.items()})


def sampled_values(masks: Path) -> str:
    """Say which values some masks have, and how to name their classes; empty if that is unclear."""
    found: set[int] = set()
    for path in islice(sorted(masks.rglob("*.*")), _SAMPLED):
        try:
            found |= labels_of(decode_mask(read_file(path)))
        except (OSError, InvalidMaskError):
            return ""
    if not 2 <= len(found) <= _FEW:
        return ""
    values = sorted(found)
    example = ", ".join(f"{value}: {BACKGROUND if value == values[0] else 'NAME'}" for value in values[:2])
    shown = ", ".join(map(str, values))
    return f", or name the classes of the values {shown} of the masks in mask_values, as in {{{example}}}"
