"""Errors of the orchestration that a person can act on."""


class FlowError(Exception):
    """Base of every error of the flows and of the command line."""


class InvalidSettingsError(FlowError):
    """A configuration, an override or a parameter is wrong."""


class EmptyDatasetError(FlowError):
    """No photograph of the data set can be used."""


class DatasetChangedError(FlowError):
    """The data set is not the one that was indexed any more."""


class InvalidSummaryError(FlowError):
    """The summary of a checkpoint was written by other software."""


class ClusterError(FlowError):
    """A Dask cluster cannot be started or reached, or was lost."""


class StoppedError(FlowError):
    """Shards were left for the next run, for others failed or the run was interrupted."""
