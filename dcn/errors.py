"""Errors that a person can act on."""


class DCNError(Exception):
    """Base of every error of this package whose message is written for the user."""


class InvalidPhotographError(DCNError):
    """A file is not a photograph that can be read."""


class InvalidMaskError(DCNError):
    """A ground-truth mask cannot be read, or does not fit its image or its classes."""


class InvalidDatasetError(DCNError):
    """A data set is not where it should be, or not what it should be."""


class WeightsUnavailableError(DCNError):
    """Pretrained weights can neither be downloaded nor read from a file."""


class InvalidOptionError(DCNError, ValueError):
    """A number or a name that the chosen backbone or machine cannot do."""


class UnknownModelError(DCNError):
    """A name is neither a preset nor a ViT that timm or open_clip knows."""


class NonFiniteTrainingError(DCNError):
    """Training met NaN or Inf."""


class InvalidModelFileError(DCNError):
    """A file is not a trained DCN of this project."""
