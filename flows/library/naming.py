"""Names of the clusters of a run by a language-image model, as a file ``names.yaml`` that a person edits."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from ruamel.yaml import YAML

from flows import progress
from flows.errors import FlowError, InvalidSettingsError
from flows.evaluation.protocols.kmeans import SEMANTIC, KMeans
from flows.evaluation.results import read_results
from flows.execution.plan import find_job
from flows.inputs.image_index import IndexedImage, evenly_spread, open_index
from flows.inputs.models import load_language_model
from flows.inputs.region_maps import RegionMaps
from flows.inputs.tokens.squashed_batches import squashed_batches
from flows.printable import printable_line
from flows.settings import Settings
from flows.stage import Job
from storage import CheckpointMissingError

if TYPE_CHECKING:
    from torch import Tensor

    from dcn.language.maskclip import LanguageModel
    from dcn.language.naming import ClusterName
    from dcn.language.vocabulary import Vocabulary

PROGRESS = "name"
# Regions of a cluster that are looked at. The mean of this many is steady, and the time has a bound.
_MOST_REGIONS = 64


def name_run(settings: Settings, vocabulary: Vocabulary) -> list[ClusterName]:
    """Name the clusters of a run.

    Of a cluster with more regions, 64 at even distances are looked at.

    Args:
        settings: of a run whose ``evaluate`` is complete.
        vocabulary: the words to choose from.

    Returns:
        One name for each cluster that has a region in a photograph that can be read.

    Raises:
        InvalidSettingsError: there is no language model, or the classes have names already.
        CheckpointMissingError: the run is not complete.
        FlowError: no cluster has a region that can be read.

    """
    from dcn.language.naming import name_clusters

    if settings.language.model is None:
        raise InvalidSettingsError(
            "language.model is empty: set it to a model of open_clip, such as ViT-B-16:openai"
        )
    job = find_job(settings)
    if "evaluate" not in job.keys:
        raise CheckpointMissingError(
            f"the workspace {job.workspace.location} has no clusters of these photographs", "run"
        )
    if read_results(job).of(KMeans).matched:
        raise InvalidSettingsError(
            "the classes of this data set have names already, because clusters were matched with its ground "
            "truth; name clusters of photographs without dataset.masks"
        )
    rows, regions, clusters = _choose_regions(job.checkpoint("evaluate").read_values(SEMANTIC))
    images = [open_index(job).image(row) for row in np.unique(rows).tolist()]
    progress.start(PROGRESS, len(images) + len(vocabulary.things))
    model = load_language_model(job.settings)
    features = _region_features(job, model, images)
    known = np.array([row in features for row in rows], dtype=np.bool_)
    if not known.any():
        raise FlowError(
            "there is no cluster to name: no foreground region is in a photograph that can be read"
        )
    import torch

    chosen = zip(rows[known].tolist(), regions[known].tolist(), strict=True)
    found = torch.stack([features[row][region] for row, region in chosen])  # [R, e]
    text = _text_embeddings(model, vocabulary)
    progress.end(PROGRESS)
    return name_clusters(found, clusters[known], text, vocabulary.names, model.scale)


def names_yaml(names: Sequence[ClusterName], model: str, vocabulary: str) -> str:
    """Write the content of ``names.yaml``: a line for each cluster, with score and runner-up as a comment.

    Args:
        names: names of the clusters.
        model: name of the language-image model.
        vocabulary: name or path of the vocabulary.

    """
    lines = [
        f"# Names by {printable_line(model)} from the vocabulary {printable_line(vocabulary)}.",
        "# A score is the mean probability of the name over regions of the cluster, from 0 to 1.",
        "# Clusters with one name are one class.",
    ]
    for one in names:
        entry = _yaml_line(one.cluster, one.name)
        runner_up = f"{printable_line(one.runner_up)} {one.runner_up_score:.2f}"
        lines.append(f"{entry}  # {one.score:.2f}, then {runner_up}")
    return "\n".join(lines) + "\n"


def _yaml_line(cluster: int, name: str) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width = False, sys.maxsize  # a block, whose lines are not broken
    stream = io.StringIO()
    yaml.dump({cluster: name}, stream)
    return stream.getvalue().strip()


def check_new_file(path: Path) -> None:
    """Check that the file of the names can be written, because it takes minutes to find the names.

    Raises:
        FlowError: there is such a file, or its folder is missing.

    """
    if os.path.lexists(path):
        raise _file_exists(path)
    if not path.parent.is_dir():
        raise FlowError(f"there is no folder {path.parent}; make it, or choose another file")


def write_names(path: Path, content: str) -> None:
    """Write the file. A person may have edited an older one, so it is not replaced.

    Raises:
        FlowError: there is such a file.

    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise _file_exists(path) from None


def _file_exists(path: Path) -> FlowError:
    return FlowError(f"{path} exists, and may have names of yours; choose another file")


def _choose_regions(
    semantic: npt.NDArray[np.int16],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Choose regions of every cluster: their rows, their numbers, and their clusters, ``[R]`` each."""
    rows, regions = np.nonzero(semantic > 0)
    clusters = semantic[rows, regions].astype(np.int64)
    chosen = [
        evenly_spread(np.flatnonzero(clusters == cluster), _MOST_REGIONS) for cluster in np.unique(clusters)
    ]
    places = np.concatenate([np.zeros(0, dtype=np.int64), *chosen])
    return rows[places], regions[places], clusters[places]


def _region_features(job: Job, model: LanguageModel, images: Sequence[IndexedImage]) -> dict[int, Tensor]:
    """Compute the features ``[k, e]`` of the regions of photographs, by row. Unreadable ones are left out."""
    from dcn.language.naming import region_features

    size = job.settings.language.input_size
    side = model.grid(size) * model.patch_size
    found: dict[int, Tensor] = {}
    for batch in squashed_batches(job.settings, size, images):
        if batch.images:
            features = model.patch_features(model.preprocess(batch.pixels))  # [b, n, e]
            for image, of_image in zip(batch.images, features, strict=True):
                maps = RegionMaps.read(job, image.row, image.row + 1)
                found[image.row] = region_features(
                    of_image, maps.at(image, side, side), job.settings.num_regions
                )
        for one in batch.refused:
            progress.warn(f"{one['file']} was left out: {one['reason']}")
        progress.advance(PROGRESS, batch.size)
    return found


def _text_embeddings(model: LanguageModel, vocabulary: Vocabulary) -> Tensor:
    """Embed the words of a vocabulary, ``[C, e]``."""
    import torch

    from dcn.language.prompts import short_prompts

    embeddings = []
    for names in vocabulary.things:
        embeddings.append(model.text_embeddings([short_prompts(names)]))
        progress.advance(PROGRESS, 1)
    return torch.cat(embeddings)
