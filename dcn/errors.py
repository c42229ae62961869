"""Errors that a person can act on.

A message says what is wrong, with the value, in the words of this package. It names neither settings nor
commands, because this package knows neither; ``flows`` adds them (:mod:`flows.errors`).
"""

from __future__ import annotations


class DCNError(Exception):
    """Base of every error of this package whose message is written for the user.

    Args:
        message: what is wrong.
        parameter: name of the parameter that the user should change, if one is to blame: ``weights``.

    Example:
        >>> raise InvalidDatasetError(f"there is no folder {root}", parameter="root")

    """

    def __init__(self, message: str, *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter


class InvalidPhotographError(DCNError):
    """A file is not a photograph that can be read."""


class InvalidLabelMapError(DCNError):
    """The label map that another program made of a photograph is missing or cannot be used."""


class InvalidMaskError(DCNError):
    """A ground-truth mask cannot be read, or does not fit its image or its classes."""


class InvalidDatasetError(DCNError):
    """A data set is missing, or its files are not those of this data set."""


class WeightsUnavailableError(DCNError):
    """Pretrained weights can neither be downloaded nor read from a file."""


class InvalidOptionError(DCNError, ValueError):
    """The chosen backbone or machine does not support a number or a name."""


class UnknownModelError(DCNError):
    """A name is neither a preset nor a ViT that timm or open_clip knows."""


class UnreadableAttentionError(DCNError):
    """The self-attention of a backbone cannot be read."""


class NonFiniteTrainingError(DCNError):
    """Training met NaN or infinity."""


class InvalidModelFileError(DCNError):
    """A file is not a trained DCN of this project."""


class InvalidClassNamesError(DCNError):
    """The names that a person gave to clusters cannot be read, or do not fit the clusters."""
