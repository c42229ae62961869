"""The classes of a run, with the names that a person gave to them."""

from __future__ import annotations

import json

from dcn.class_names import NamedClasses, cluster_names, name_classes, read_names
from flows.errors import name_parameters
from flows.evaluation.protocols.kmeans import KMeans
from flows.evaluation.results import read_results
from flows.inputs.image_index import open_index
from flows.settings import Settings
from flows.stage import Job
from storage.key import digest


def named_classes(job: Job) -> NamedClasses:
    """Name the classes of ``semantic.npy``, and join those that ``report.names`` gives one name.

    With ground truth the classes have the names of the data set, else they are clusters: ``cluster 3``.

    Args:
        job: the run; its ``evaluate`` is complete.

    Raises:
        InvalidClassNamesError: the file of names cannot be read, or does not fit the classes.

    """
    found = read_results(job).of(KMeans)
    matched = found.miou is not None
    own_names = open_index(job).class_names if matched else cluster_names(found.clusters)
    with name_parameters("setting report.{}"):
        return name_classes(own_names, _names(job.settings))


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
