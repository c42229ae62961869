"""Settings of the network and its optimization."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dcn.options import Options, PositiveInt


class TrainSettings(Options):
    """The network and its optimization (sections 3 and 4.1.2).

    ``docs/how-it-works/training.md`` explains the defaults.
    """

    num_prototypes: Annotated[int, Field(ge=1, le=255)] = Field(5, description="the most regions of an image")
    num_stages: PositiveInt = Field(6, description="rounds in which the prototypes look at the tokens")
    heads: PositiveInt = Field(1, description="of the attention")
    self_update: bool = Field(True, description="prototypes look at each other, too (equations 3 and 4)")
    norm: Literal["pre", "post"] = Field("pre", description="layer norm before or after a block")
    start: Literal["identity", "random"] = Field(
        "identity", description="of the weights: identity begins as soft k-means"
    )
    prototypes: Literal["kmeans", "normal"] = Field(
        "kmeans", description="start of the prototypes: k-means on tokens of training images, or N(0, 1)"
    )
    resolution: Annotated[float, Field(gt=0)] = Field(
        1.0, description="of the modularity; larger: more regions"
    )
    temperature: Annotated[float, Field(gt=0)] | None = Field(
        None, description="of a softmax over the cosines in the loss; empty: the cosines, as in the paper"
    )
    iterations: PositiveInt = Field(2500, description="of the optimizer")
    batch_size: PositiveInt = Field(32, description="images in an iteration")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="of AdamW, at its highest")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="of the learning rate")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="of the optimizer")
    max_gradient_norm: Annotated[float, Field(gt=0)] | None = Field(0.5, description="empty: no clipping")
    held_out: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1, description="share of the training images (256 at most) that select the weights instead"
    )
    check_every: PositiveInt = Field(50, description="iterations between two looks at the held-out images")
    save_every: PositiveInt = Field(
        500, description="iterations between two checkpoints of the training state"
    )
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of everything that is drawn")
