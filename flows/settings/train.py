"""Settings of the network and its training, and of the head that learns classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from dcn.model_description import HeadDepth
from dcn.options import Layer, Options, PositiveInt, Seed

if TYPE_CHECKING:  # settings are read without torch
    from dcn.modularity import ModularityLoss


class TrainSettings(Options):
    """The network and its training (sections 3 and 4.1.2).

    ``docs/how-it-works/training.md`` explains the defaults.
    """

    whitened_dims: PositiveInt | None = Field(
        128,
        description="Width of the whitened tokens that the network works on; empty: the tokens of the "
        "backbone as they are, as in the paper.",
    )
    num_prototypes: Annotated[int, Field(ge=1, le=255)] = Field(
        5, description="Number of prototypes: the largest number of regions of an image."
    )
    num_stages: PositiveInt = Field(
        6, description="Number of stages of the network; each updates the prototypes once."
    )
    heads: PositiveInt = Field(1, description="Number of attention heads.")
    self_update: bool = Field(
        True, description="Whether prototypes attend to each other as well (equations 3 and 4)."
    )
    norm: Literal["pre", "post"] = Field(
        "pre", description="Position of the layer norm: before or after a block."
    )
    start: Literal["identity", "random"] = Field(
        "identity", description="Initial weights. ``identity`` makes the network begin as soft k-means."
    )
    prototypes: Literal["kmeans", "normal"] = Field(
        "kmeans",
        description="Initial prototypes: k-means on tokens of training images, or normal noise N(0, 1).",
    )
    expected_affinity: Annotated[float, Field(gt=-1, lt=1)] | None = Field(
        0.15,
        description="Cosine at which two tokens neither attract nor repel each other in the loss; a larger "
        "one gives more regions. Empty: the product of their degrees times ``resolution``, as in the paper.",
    )
    resolution: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="Resolution of the modularity with degrees; a larger one gives more regions. It changes "
        "the training only if ``expected_affinity`` is empty.",
    )
    temperature: Annotated[float, Field(gt=0)] | None = Field(
        0.1,
        description="Temperature of a softmax over the cosines in the loss; empty: plain cosines, as in the "
        "paper.",
    )
    iterations: PositiveInt = Field(2500, description="Number of iterations of the optimizer.")
    batch_size: PositiveInt = Field(32, description="Number of images in an iteration.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Highest learning rate of AdamW.")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="Schedule of the learning rate.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="Weight decay of AdamW.")
    max_gradient_norm: Annotated[float, Field(gt=0)] | None = Field(
        0.5, description="Largest norm of the gradient, to which larger ones are clipped; empty: no clipping."
    )
    held_out: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1, description="Share of the training images (at most 256) that only select the best weights."
    )
    check_every: PositiveInt = Field(
        50, description="Number of iterations between two checks on the held-out images."
    )
    patience: PositiveInt | None = Field(
        None,
        description="Number of checks without progress on the held-out images after which training ends; "
        "empty: all iterations.",
    )
    save_seconds: Annotated[float, Field(ge=0)] = Field(
        20,
        description="Number of seconds after which the training state is saved again, if saving takes less "
        "than a fiftieth of the time; 0: after each iteration. Changes no result.",
    )
    seed: Seed = Field(0, description="Seed of all random numbers.")

    @property
    def loss(self) -> ModularityLoss:
        """The modularity that training maximizes."""
        from dcn.modularity import ModularityLoss

        return ModularityLoss(self.resolution, self.temperature, self.expected_affinity)

    @model_validator(mode="after")
    def _check_loss(self) -> Self:
        if self.expected_affinity is not None and self.temperature is None:
            raise ValueError(
                f"expected_affinity {self.expected_affinity} needs probabilities, and without temperature "
                f"there are none; set train.temperature to 0.1, or leave train.expected_affinity empty too"
            )
        return self


class DistillSettings(Options):
    """A head on the tokens that learns the classes of the clusters, so that one forward pass gives classes.

    ``docs/how-it-works/distillation.md`` explains the stage. Without rounds there is no head.
    """

    rounds: Annotated[int, Field(ge=0, le=9)] = Field(
        0,
        description="Number of rounds; 0: no head. The first learns the classes of regions, each further one "
        "the confident predictions of the head before it.",
    )
    layers: tuple[Layer, ...] = Field(
        (),
        description="Blocks whose normalized outputs the head reads, counted from the end (-1 is the last). "
        "``token_layers`` caches those that ``extract`` does not. ``[]``: ``backbone.token_layer`` alone.",
    )
    depth: HeadDepth = Field(2, description="Number of 1 x 1 convolutions of the head.")
    left_out: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.2,
        description="Share of the regions of a cluster, the farthest from its center, that teach nothing; in "
        "further rounds the share of its patches of which the head is least sure.",
    )
    iterations: PositiveInt = Field(1000, description="Number of iterations of a round.")
    batch_size: PositiveInt = Field(16, description="Number of images in an iteration.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Highest learning rate of AdamW.")
    check_every: PositiveInt = Field(
        50, description="Number of iterations between two checks of the agreement on held-out images."
    )
    patience: PositiveInt | None = Field(
        4,
        description="Number of checks without progress on the held-out images after which a round ends; "
        "empty: all iterations.",
    )
    seed: Seed = Field(0, description="Seed of the head, of the batches and of the held-out images.")
