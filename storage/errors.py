"""What can be wrong with a checkpoint, said so that a person can act."""


class StorageError(Exception):
    """Base of every error of the storage."""


class CheckpointMissingError(StorageError):
    """A checkpoint that is to be read does not exist or is not complete."""


class CheckpointDamagedError(StorageError):
    """The bytes of a checkpoint are not what was written."""


class NoSpaceError(StorageError):
    """The disk has less room than a stage is going to write."""
