"""What can be wrong with a checkpoint, said so that a person can act."""


class StorageError(Exception):
    """Base of every error of the storage."""


class CheckpointMissingError(StorageError):
    """A checkpoint that is to be read does not exist or is not complete."""


class CheckpointDamagedError(StorageError):
    """The bytes of a checkpoint are not what was written."""

    def __str__(self) -> str:
        return (
            f"{super().__str__()}. `dcn workspace verify --repair` forgets what is damaged, and the next run "
            f"computes it again"
        )


class FileSystemError(StorageError, OSError):
    """The file system or the network failed; ``errno`` says how, where it is known."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


class NoSpaceError(StorageError):
    """The disk has less room than a stage is going to write."""
