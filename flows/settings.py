"""The settings of a run: what a configuration file, ``--set`` and the form of a deployment say.

Unknown keys are errors. A setting that is None takes the default of the backbone's preset, which
:meth:`Settings.resolve` fills in, so that a checkpoint's manifest names the value that was used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from dcn.presets import AttentionReduction, Precision, RegionScore, find_preset
from storage import StorageError
from storage.store import check_location


def _check_location(location: str) -> str:
    try:
        return check_location(location)
    except StorageError as error:  # pydantic reports ValueErrors, with the name of the setting
        raise ValueError(str(error)) from error


# A configuration may name a class of these packages and of no other: to import a module is to run it.
CLUSTER_PACKAGES = ("dask_jobqueue", "dask_kubernetes", "dask_cloudprovider", "dask_cuda")
PositiveInt = Annotated[int, Field(ge=1)]
RegionCount = Annotated[int, Field(ge=1, le=255, description="the most regions of an image")]
WorkspaceLocation = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value),
    AfterValidator(_check_location),
    Field(description="where the checkpoints are: a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"),
]
Layer = Annotated[int, Field(description="counted from the end: -1 is the last block", lt=0)]


class Section(BaseModel):
    """Immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


AnySection = TypeVar("AnySection", bound=Section)


class SampleSettings(Section):
    """The eight photographs that come with scikit-image and scikit-learn."""

    name: Literal["sample"] = "sample"


class VOC2012Settings(Section):
    """PASCAL VOC 2012."""

    name: Literal["voc2012"] = "voc2012"
    root: Path = Field(description="what torchvision calls root: the folder that holds VOCdevkit/VOC2012")
    train_split: Literal["train_aug", "train", "trainval"] | None = Field(
        None, description="empty: train_aug where its list is, else train"
    )
    evaluate_split: Literal["val", "train", "trainval"] = Field("val", description="to evaluate on")
    download: bool = Field(False, description="fetch it with torchvision where it is missing")


class FolderSettings(Section):
    """Any folder of photographs."""

    name: Literal["folder"] = "folder"
    root: Path = Field(description="folder of photographs, with subfolders")
    masks: Path | None = Field(None, description="folder of masks, named like the photographs")
    classes: Path | None = Field(None, description="text file of class names; the first is the background")


class BSDS500Settings(Section):
    """The Berkeley Segmentation Data Set: regions that several people drew, without classes."""

    name: Literal["bsds500"] = "bsds500"
    root: Path = Field(description="the folder that holds BSR/BSDS500/data")
    train_split: Literal["train", "val", "test"] = Field("train", description="to train on")
    evaluate_split: Literal["train", "val", "test"] = Field("test", description="to evaluate on")


DatasetSettings = Annotated[
    SampleSettings | VOC2012Settings | FolderSettings | BSDS500Settings, Field(discriminator="name")
]


class BackboneSettings(Section):
    """The frozen self-supervised ViT (section 4.1.2)."""

    name: str = Field("dino-s8", description="a preset (dino-s8, dinov2-s14, ...) or any ViT of timm")
    weights: Path | None = Field(None, description="a local .safetensors or .pth instead of timm's hub")
    input_size: PositiveInt | None = Field(
        None, description="photographs are squashed to this square, in pixels"
    )
    token_layer: Layer | None = None
    attention_block: Layer | None = None
    batch_size: PositiveInt = Field(8, description="photographs or crops at once; does not change results")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    precision: Precision = Field(
        "float32",
        description="of the backbone, and of the network that segments; bfloat16 is faster where the "
        "processor has units for it, and less exact",
    )


class TrainSettings(Section):
    """The network and its optimization (sections 3 and 4.1.2). ``docs/training.md`` explains the defaults."""

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


class DCNSegmenter(Section):
    """The network of this project; ``train`` says how many regions an image may have."""

    name: Literal["dcn"] = "dcn"


class KMeansSegmenter(Section):
    """k-means on the tokens of each image: a fixed number of clusters."""

    name: Literal["kmeans"]
    num_regions: RegionCount = 5


class SpectralSegmenter(Section):
    """Deep Spectral Methods: clusters of the eigenvectors of the normalized Laplacian."""

    name: Literal["spectral"]
    num_regions: RegionCount = 5
    color_weight: Annotated[float, Field(ge=0)] = Field(0.0, description="of the affinity of colors")
    border_background: bool = Field(
        False, description="background is the region with most border pixels, instead of attention"
    )


class NCutSegmenter(Section):
    """Normalized cut, repeated on what is left: TokenCut, MaskCut."""

    name: Literal["ncut"]
    num_regions: RegionCount = 5


class ModularitySegmenter(Section):
    """A community detector on the affinity graph of the modularity loss, without learning."""

    name: Literal["modularity"]
    num_regions: RegionCount = 5


class PixelsSegmenter(Section):
    """Tokens of all training photographs clustered at once, no regions: the intuitive way of section 1."""

    name: Literal["pixels"]
    num_clusters: RegionCount = Field(21, description="of the whole data set, background among them")


SegmenterSettings = Annotated[
    DCNSegmenter
    | KMeansSegmenter
    | SpectralSegmenter
    | NCutSegmenter
    | ModularitySegmenter
    | PixelsSegmenter,
    Field(discriminator="name"),
]


class SegmentSettings(Section):
    """What finds the regions, and which of them are foreground (sections 3.2 and 4.1.2)."""

    segmenter: SegmenterSettings = Field(DCNSegmenter(), description="what finds the regions")
    attention_reduction: AttentionReduction | None = Field(None, description="attention heads to one value")
    region_score: RegionScore | None = Field(None, description="pixels of a region to one value")


class EmbedSettings(Section):
    """Embeddings of masked crops (section 4.1.1)."""

    layer: Layer | None = None
    size: PositiveInt | None = Field(None, description="side of a masked crop in pixels")


class EvaluateSettings(Section):
    """The evaluations (section 4)."""

    num_clusters: RegionCount | None = Field(
        None, description="of k-means; empty: the classes without background, or 20 where there are none"
    )
    num_seeds: PositiveInt = Field(10, description="runs of k-means")
    neighbors: tuple[PositiveInt, ...] = Field(
        (1, 3, 5, 10), min_length=1, description="k of the k-NN retrieval"
    )
    attainable_images: Annotated[int, Field(ge=0)] = Field(
        128, description="evaluated images whose attainable modularity is searched; 0: none"
    )
    sampled_images: PositiveInt = Field(
        16384,
        description="images whose regions k-means learns from, and those in the bank of k-NN; of more, that "
        "many are taken, evenly spread",
    )


class LanguageSettings(Section):
    """Classes by a language-image model (section 4.5). Off while there is no model."""

    model: str | None = Field(None, description="a ViT of open_clip, as ViT-B-16:openai; empty: no language")
    weights: Path | None = Field(None, description="a local file instead of open_clip's hub")
    input_size: PositiveInt = Field(
        336, description="photographs are squashed to this square, in pixels; the patches must divide it"
    )


class CompareSettings(Section):
    """Which segmenters a comparison runs, and with how many regions."""

    segmenters: tuple[Literal["dcn", "kmeans", "spectral", "ncut", "pixels", "modularity"], ...] = Field(
        ("dcn", "kmeans", "spectral", "ncut", "pixels", "modularity"),
        min_length=1,
        description="which are run",
    )
    num_regions: tuple[RegionCount, ...] = Field(
        (5,), min_length=1, description="each of them is run with each number"
    )


class SweepSettings(Section):
    """Settings of which several values are run, side by side."""

    over: dict[str, list[Any]] = Field(
        {}, description='every combination is run: {"train.num_prototypes": [3, 5]}'
    )


class ReportSettings(Section):
    """The page."""

    num_photographs: PositiveInt = Field(24, description="evaluated photographs that are shown")


class TLSSettings(Section):
    """Certificates in PEM files. Whoever has one that the authority signed may run code on the workers."""

    ca_file: Path = Field(description="of the authority that signed the certificates")
    cert: Path = Field(description="of this process, and of what it starts")
    key: Path = Field(description="of the certificate; readable by you alone")


class AdaptiveSettings(Section):
    """As many workers as there is work for."""

    minimum: Annotated[int, Field(ge=0)] = Field(0, description="workers that are kept")
    maximum: PositiveInt = Field(description="workers at most")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"the minimum {self.minimum} is larger than the maximum {self.maximum}")
        return self


class RunnerSettings(Section):
    """Where the shards are computed. Changes nothing in the results. ``docs/clusters.md`` has examples."""

    kind: Literal["threads", "dask"] = Field("threads", description="in this process, or by Dask")
    workers: PositiveInt = Field(1, description="tasks at once; a thread already uses all cores")
    address: str | None = Field(
        None, description="of a running Dask scheduler, as tcp://host:8786 or tls://host:8786"
    )
    cluster: str | None = Field(
        None, description="class that starts the workers instead, as dask_jobqueue.SLURMCluster"
    )
    cluster_arguments: dict[str, Any] = Field({}, description="of that class")
    adaptive: AdaptiveSettings | None = Field(None, description="instead of a fixed number of workers")
    tls: TLSSettings | None = Field(None, description="of a scheduler at tls://, or of what the class starts")
    task_timeout: Annotated[float, Field(gt=0)] | None = Field(
        None, description="seconds that a task may take before it is tried again; empty: no limit"
    )

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", address):
            raise ValueError("write tcp://HOST:PORT or tls://HOST:PORT")
        return address

    @field_validator("cluster")
    @classmethod
    def _check_cluster(cls, cluster: str | None) -> str | None:
        if cluster is not None and not re.fullmatch(rf"({'|'.join(CLUSTER_PACKAGES)})(\.\w+)+", cluster):
            raise ValueError(f"write a class of {', '.join(CLUSTER_PACKAGES)}")
        return cluster

    @field_validator("cluster_arguments")
    @classmethod
    def _check_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for name in _names(arguments):
            if re.search(r"(^|_)(cls|class)$|^preload", name.replace("-", "_")):
                raise ValueError(f"{name} would import any code into this process, so it cannot be set")
        return arguments

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.kind != "dask":
            for name in ("address", "cluster", "adaptive", "tls"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for Dask; set runner.kind to dask")
        if self.address is not None:
            for name in ("cluster", "adaptive"):
                if getattr(self, name) is not None:
                    raise ValueError(f"the scheduler at address has its workers already; remove {name}")
            if self.address.startswith("tls://") != (self.tls is not None):
                raise ValueError("an address tls://HOST:PORT and tls (ca_file, cert, key) go together")
        elif self.tls is not None and self.cluster is None:
            raise ValueError("tls is for an address or a cluster; the local one stays on loopback")
        if self.cluster_arguments and self.cluster is None:
            raise ValueError("cluster_arguments need a cluster")
        return self


def _names(value: Any) -> Iterator[str]:
    """Names of the entries of nested mappings and lists."""
    if isinstance(value, dict):
        yield from map(str, value)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _names(inner)


class Settings(Section):
    """Everything that a run depends on."""

    dataset: DatasetSettings = SampleSettings()
    backbone: BackboneSettings = BackboneSettings()
    train: TrainSettings = TrainSettings()
    segment: SegmentSettings = SegmentSettings()
    embed: EmbedSettings = EmbedSettings()
    language: LanguageSettings = LanguageSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    compare: CompareSettings = CompareSettings()
    sweep: SweepSettings = SweepSettings()
    runner: RunnerSettings = RunnerSettings()
    workspace: WorkspaceLocation = "workspace"
    shard_images: PositiveInt = Field(64, description="images in one file of a new checkpoint")

    @property
    def num_regions(self) -> int:
        """Columns of an assignment: the most regions of an image."""
        segmenter = self.segment.segmenter
        if isinstance(segmenter, DCNSegmenter):
            return self.train.num_prototypes
        return segmenter.num_clusters if isinstance(segmenter, PixelsSegmenter) else segmenter.num_regions

    @property
    def regions_are_classes(self) -> bool:
        """The segmenter gives classes of the whole data set, so there is nothing to classify."""
        return isinstance(self.segment.segmenter, PixelsSegmenter)

    def resolve(self) -> Settings:
        """The same settings with the defaults of the backbone's preset filled in, and every path absolute.

        So they mean the same to a worker that has another working directory.

        Raises:
            UnknownModelError: there is no such backbone.

        """
        preset = find_preset(self.backbone.name)
        defaults: dict[str, dict[str, Any]] = {
            "backbone": {
                "input_size": preset.input_size,
                "token_layer": preset.token_layer,
                "attention_block": preset.attention_block,
            },
            "segment": {
                "attention_reduction": preset.attention_reduction,
                "region_score": preset.region_score,
            },
            "embed": {"layer": preset.embedding_layer, "size": preset.embedding_size},
        }
        sections = {}
        for name, values in defaults.items():
            section = getattr(self, name)
            missing = {key: value for key, value in values.items() if getattr(section, key) is None}
            sections[name] = section.model_copy(update=missing)
        return _absolute(self.model_copy(update={**sections, "workspace": self._absolute_workspace()}))

    def _absolute_workspace(self) -> str:
        return self.workspace if "://" in self.workspace else str(Path(self.workspace).absolute())


def _absolute(section: AnySection) -> AnySection:
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            changed[name] = value.absolute()
        elif isinstance(value, Section):
            changed[name] = _absolute(value)
    return section.model_copy(update=changed)
