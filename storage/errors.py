"""Errors of the storage. Messages name places and values; ``flows`` adds the command that helps."""


class StorageError(Exception):
    """Base of every error of the storage."""


class CheckpointMissingError(StorageError):
    """A checkpoint that is to be read does not exist or is not complete.

    Args:
        message: what is missing.
        stage: the stage that writes it, if a run of this stage is the remedy.

    """

    def __init__(self, message: str, stage: str | None = None) -> None:
        super().__init__(message)
        self.stage = stage


class CheckpointDamagedError(StorageError):
    """The bytes of a checkpoint are not those that were written."""


class UnknownArrayError(StorageError):
    """A checkpoint has no array of this name."""


class FileSystemError(StorageError, OSError):
    """The file system or the network failed; ``errno`` is None if the number of the error is unknown."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


class NoSpaceError(StorageError):
    """The disk has less room than a stage is going to write."""
