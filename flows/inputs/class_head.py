"""The head of a run, as the stage ``distill`` keeps it in a file."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dcn.model_description import HeadDescription
from flows.inputs.summaries import DistillSummary, ExtractSummary
from flows.inputs.tokens.token_layers import head_layers, open_head_layers
from flows.settings import Settings
from flows.stage import Job
from storage import Checkpoint, Workspace

if TYPE_CHECKING:
    from dcn.class_head import ClassHead

HEAD = "head.safetensors"
_loading = Lock()


def new_head_description(settings: Settings, clusters: int) -> HeadDescription:
    """Describe the head that resolved settings ask for, with a number of clusters without the background."""
    return HeadDescription(
        layers=head_layers(settings), depth=settings.distill.depth, matched=tuple(range(clusters + 1))
    )


def head_bytes(head: ClassHead) -> bytes:
    """Write the weights of a head in half precision, as a model file has them."""
    from safetensors.torch import save

    from dcn.model_file import in_half_precision

    return save({name: in_half_precision(value) for name, value in head.state_dict().items()})


def read_head(checkpoint: Checkpoint, name: str, head: ClassHead) -> ClassHead:
    """Read weights of a file of ``distill`` into a head, which then is frozen.

    Raises:
        CheckpointDamagedError: the file is missing or is not what was written.

    """
    from safetensors.torch import load

    head.load_state_dict(load(checkpoint.read_file(name)))
    return head.eval().requires_grad_(False)


def describe_head(job: Job) -> HeadDescription:
    """Describe the head in a complete checkpoint of ``distill``, whatever the settings of the job.

    Args:
        job: a job with the keys of ``distill`` and ``extract``.

    """
    settings = job.checkpoint("distill").require().settings
    own = job.checkpoint("extract").require().settings["token_layer"]
    return HeadDescription(
        layers=tuple(settings["layers"]) or (own,),
        depth=settings["depth"],
        matched=tuple(range(DistillSummary.read(job).clusters + 1)),
    )


def load_head(job: Job) -> ClassHead:
    """Load the head of a run on the CPU, once per process. Safe to call from several threads."""
    distilled, width = job.checkpoint("distill"), ExtractSummary.read(job).token_width
    content = distilled.require().content
    with _loading:
        return _load_head(job.settings.workspace, distilled.key, content, width, describe_head(job))


def patch_clusters(job: Job, row: int) -> npt.NDArray[np.float16]:
    """Compute the probabilities of the clusters for the patches of a photograph, ``[n, K + 1]``.

    Safe to call from several threads.
    """
    import torch

    layers = [array.rows(row, row + 1) for array in open_head_layers(job)]  # [1, n, d] each
    probabilities = load_head(job).probabilities([torch.from_numpy(layer).float() for layer in layers])
    found: npt.NDArray[np.float16] = probabilities[0].half().numpy()
    return found


@lru_cache(maxsize=1)
def _load_head(
    workspace: str,
    key: str,
    content: str,  # noqa: ARG001 - the cache distinguishes heads by it
    width: int,
    description: HeadDescription,
) -> ClassHead:
    from dcn.class_head import ClassHead

    head = ClassHead(width, description)
    return read_head(Workspace(workspace).checkpoint("distill", key), HEAD, head)
