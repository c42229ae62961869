"""The classes of a run, with the names that a person gave to them."""

from __future__ import annotations

import json

from dcn.class_names import NamedClasses, cluster_names, name_classes, read_names
from flows.errors import InvalidSettingsError, name_parameters
from flows.evaluation.protocols.kmeans import CLASS_OF_CLUSTER, KMeans
from flows.evaluation.results import read_results
from flows.inputs.image_index import open_index
from flows.settings import Settings
from flows.stage import Job
from storage.key import digest


def named_classes(job: Job) -> NamedClasses:
    """Name the classes of ``semantic.npy``, and join those to which ``report.names`` gives one name.

    With ground truth the classes have the names of the data set. Else they are clusters: ``cluster 3``.

    Args:
        job: the run; its ``evaluate`` is complete.

    Raises:
        InvalidClassNamesError: the file of names cannot be read, or does not fit the clusters.
        InvalidSettingsError: there is a file of names, and ground truth.

    """
    names = _names(job.settings)
    found = read_results(job).of(KMeans)
    if not found.matched:
        clusters = int(job.checkpoint("evaluate").read_values(CLASS_OF_CLUSTER).max())
        with name_parameters("setting report.{}"):
            return name_classes(cluster_names(clusters), names)
    if names:
        raise InvalidSettingsError(
            f"report.names {job.settings.report.names} names clusters, but the classes of this data set have "
            f"names already; leave report.names empty"
        )
    class_names = open_index(job).class_names
    return NamedClasses(names=class_names, class_of_cluster=tuple(range(len(class_names))))


def names_digest(settings: Settings) -> str | None:
    """Compute the digest of the names in the file that ``report.names`` gives; None without a file.

    Raises:
        InvalidClassNamesError: the file cannot be read.

    """
    if settings.report.names is None:
        return None
    return digest(json.dumps(sorted(_names(settings).items())).encode())


def _names(settings: Settings) -> dict[int, str]:
    with name_parameters("setting report.{}"):
        return {} if settings.report.names is None else read_names(settings.report.names)
