"""What a model file says about its model: how to build the network, and how to use it on a photograph."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from dcn.class_names import NamedClasses
from dcn.embedding_sources import CROP_VIEWS, Source
from dcn.images.palette import CLASS_PALETTES, PaletteName
from dcn.options import Layer, Options, PositiveInt
from dcn.weights.presets import AttentionReduction, ForegroundSplit, Precision, Preset, RegionScore

HeadDepth = Annotated[int, Field(ge=1, le=3)]


class BackboneDescription(Options):
    """The backbone of a model, and how it computes the tokens that the network was trained on.

    Attributes:
        name: a preset or any ViT of timm.
        weights: file of its weights; None for those of timm's hub or of the preset's package.
        input_size: side in pixels of the square that a photograph is squashed to.
        token_layer: block whose normalized output gives the tokens.
        attention_block: block whose CLS attention gives the foreground.
        flip: the tokens are averaged with those of the mirrored photograph
            (:mod:`dcn.flip_averaging`); None: they are not.
        precision: of the backbone and of the network.

    """

    name: str
    weights: str | None = None
    input_size: PositiveInt
    token_layer: Layer
    attention_block: Layer
    flip: Literal[True] | None = None
    precision: Precision = "float32"


class RegionRules(Options):
    """How an assignment and the attention become regions and their foreground (section 4.1.2).

    Attributes:
        attention_reduction: see :func:`dcn.foreground.reduce_heads`.
        region_score: see :func:`dcn.foreground.region_scores`.
        foreground_split: see :func:`dcn.foreground.foreground_regions`.
        background: ``none``: all regions are foreground, because the model's classes are those of a run
            without a foreground step; None: the attention decides.
        refine: the borders follow the photograph (:func:`dcn.refinement.fine_label_map`).
        smallest_part: see :func:`dcn.speckles.remove_speckles`.

    """

    attention_reduction: AttentionReduction
    region_score: RegionScore
    foreground_split: ForegroundSplit
    background: Literal["none"] | None = None
    refine: bool = True
    smallest_part: float = Field(0.0, ge=0, le=1)

    @classmethod
    def of_preset(cls, preset: Preset) -> Self:
        """Take the defaults of a backbone's preset."""
        return cls(
            attention_reduction=preset.attention_reduction,
            region_score=preset.region_score,
            foreground_split=preset.foreground_split,
        )


class EmbeddingDescription(Options):
    """How the embeddings of regions are computed (:class:`dcn.region_embedder.RegionEmbedder`).

    Attributes:
        layer: block whose CLS token is read.
        size: side in pixels of a crop.
        source: what an embedding is made of. Of several sources, each part has unit length.
        drop_masked: the backbone gets only those patches of a masked crop that touch the region.
        token_layer: block whose tokens the source ``tokens`` averages; None is that of the network's tokens.

    """

    layer: Layer
    size: PositiveInt
    source: tuple[Source, ...] = Field(("crop",), min_length=1)
    drop_masked: bool = False
    token_layer: Layer | None = None

    @classmethod
    def of_preset(cls, preset: Preset) -> Self:
        """Take the defaults of a backbone's preset."""
        return cls(layer=preset.embedding_layer, size=preset.embedding_size)

    @property
    def needs_photograph(self) -> bool:
        """Whether some source is a crop."""
        return any(source in CROP_VIEWS for source in self.source)

    @property
    def needs_tokens(self) -> bool:
        """Whether a source is the tokens of the photograph."""
        return "tokens" in self.source

    @model_serializer(mode="wrap")
    def _without_later_additions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what version 2 of the model file did not have, where it is at its default."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if fields[name].is_required() or getattr(self, name) != fields[name].default
        }


class ClassDescription(Options):
    """The classes that a model knows: clusters of regions, matched to the classes of a data set, and named.

    Attributes:
        matched: ``[c + 1]`` number of each center after the matching; without ground truth that of its
            cluster. A merged cluster has several centers. Entry 0 is that of the background regions.
        named: classes after a person has named them. They translate the numbers of ``matched``.
        palette: name of the colors of the numbers of ``matched``.

    """

    matched: tuple[int, ...] = Field(min_length=1)
    named: NamedClasses
    palette: PaletteName = "category"

    @model_validator(mode="after")
    def _check(self) -> Self:
        most = len(self.named.class_of_cluster) - 1
        if min(self.matched) < 0 or max(self.matched) > most:
            raise ValueError(f"a center has a number outside of 0 to {most}")
        return self

    @property
    def class_of_center(self) -> npt.NDArray[np.uint8]:
        """``[c + 1]`` class of each center; entry 0 is that of the background."""
        return self.named.of_clusters(np.array(self.matched))

    def colors(self) -> npt.NDArray[np.uint8]:
        """Color of each number of ``matched``, ``[256, 3]`` uint8."""
        return CLASS_PALETTES[self.palette](255)


class HeadDescription(Options):
    """A head that gives each patch a cluster, and so a class (:class:`dcn.class_head.ClassHead`).

    Attributes:
        layers: blocks of the backbone whose normalized tokens the head reads.
        depth: number of its 1 x 1 convolutions.
        matched: ``[K + 1]`` number of each of its clusters after the matching, which
            ``ClassDescription.named`` translates; without ground truth the cluster itself. Cluster 0 is the
            background.

    """

    layers: tuple[Layer, ...] = Field(min_length=1)
    depth: HeadDepth
    matched: tuple[int, ...] = Field(min_length=1)


class ModelDescription(Options):
    """How to build a network, and how to use it on a photograph. JSON, in the header of a model file.

    Attributes:
        network: arguments of :class:`dcn.network.DynamicClusteringNetwork`.
        backbone: the backbone, and how its tokens are computed.
        regions: how regions are made of tokens; None takes the defaults of the backbone's preset, as the file
            of a training does, which comes before any region.
        embedding: embeddings of regions; None takes the defaults of the preset as well.
        classes: the classes; None if the model knows none.
        head: head that gives the classes without crops; None if the model has none.

    """

    network: dict[str, Any]
    backbone: BackboneDescription
    regions: RegionRules | None = None
    embedding: EmbeddingDescription | None = None
    classes: ClassDescription | None = None
    head: HeadDescription | None = None
