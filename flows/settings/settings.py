"""All settings of a run, as configuration files, ``--set`` and the form of a deployment give them.

Unknown keys are errors. A setting of None takes the default of the backbone's preset.
:meth:`Settings.resolve` fills it in, so that the manifest of a checkpoint has the value that was used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field

from dcn.datasets import SampleOptions
from dcn.options import Options, PositiveInt, expand_path
from dcn.weights.presets import Preset, find_preset
from flows.errors import InvalidSettingsError, name_parameters
from flows.printable import NOT_UNICODE, is_unicode
from flows.settings.backbone import BackboneSettings, EmbedSettings, LanguageSettings
from flows.settings.choices import AnyDataset
from flows.settings.evaluate import CompareSettings, EvaluateSettings, ReportSettings, SweepSettings
from flows.settings.runner import RunnerSettings
from flows.settings.segment import SegmentSettings
from flows.settings.train import DistillSettings, TrainSettings
from storage import StorageError
from storage.stores.store import check_location


def _check_location(location: str) -> str:
    try:
        return check_location(location if "://" in location else expand_path(location))
    except StorageError as error:  # pydantic reports ValueErrors, with the name of the setting
        raise ValueError(str(error)) from error


WorkspaceLocation = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value),
    AfterValidator(_check_location),
    Field(
        description="Place of the checkpoints: a folder, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``."
    ),
]


AnySection = TypeVar("AnySection", bound=Options)

# Options of ``embed`` that only one source reads: the source, what others do, how to leave the option out.
_READ_BY_ONE_SOURCE = {
    "drop_masked": ("crop", "masks no crop", "set embed.drop_masked to false"),
    "token_layer": ("tokens", "reads no tokens", "leave embed.token_layer empty"),
}


class Settings(Options):
    """Everything that a run depends on."""

    dataset: AnyDataset = SampleOptions()
    backbone: BackboneSettings = BackboneSettings()
    train: TrainSettings = TrainSettings()
    segment: SegmentSettings = SegmentSettings()
    embed: EmbedSettings = EmbedSettings()
    distill: DistillSettings = DistillSettings()
    language: LanguageSettings = LanguageSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()
    compare: CompareSettings = CompareSettings()
    sweep: SweepSettings = SweepSettings()
    runner: RunnerSettings = RunnerSettings()
    workspace: WorkspaceLocation = "workspace"
    shard_images: PositiveInt = Field(64, description="Number of images in one file of a new checkpoint.")

    @property
    def num_regions(self) -> int:
        """Number of columns ``k`` of an assignment: the largest possible number of regions in an image."""
        return self.segment.segmenter.columns(self.train.num_prototypes)

    @property
    def regions_are_classes(self) -> bool:
        """Whether the regions are classes of the whole data set already, so that none are classified."""
        return self.segment.segmenter.regions_are_classes

    @property
    def finds_foreground(self) -> bool:
        """Whether only foreground regions get classes; else all do."""
        return self.evaluate.background != "none"

    @property
    def embeds_true_regions(self) -> bool:
        """Whether the evaluation classifies the true regions, too, to find where the metrics lose most."""
        return self.evaluate.true_regions and self.dataset.has_classes and not self.regions_are_classes

    @property
    def classifies_by_language(self) -> bool:
        """Whether a language-image model classifies pixels, by the names of the classes of the data set."""
        return self.language.model is not None and self.dataset.has_classes

    @property
    def distills(self) -> bool:
        """Whether a head learns the classes of the regions. Regions that are classes already need none."""
        return self.distill.rounds > 0 and not self.regions_are_classes

    @property
    def whitens(self) -> bool:
        """Whether the embeddings of the regions are whitened. Regions that are classes already have none."""
        return bool(self.embed.whiten) and not self.regions_are_classes

    @property
    def more_token_layers(self) -> tuple[int, ...]:
        """Blocks whose tokens ``token_layers`` caches for the head, because ``extract`` does not: each once.

        Known before the settings are resolved, because it decides which stages run.
        """
        read = dict.fromkeys(self.distill.layers) if self.distills else {}
        if read and self.backbone.token_layer is None:
            return self._fill_in(find_preset(self.backbone.name)).more_token_layers
        return tuple(layer for layer in read if layer != self.backbone.token_layer)

    @property
    def classifies_by_neighbors(self) -> bool:
        """Whether the evaluation classifies regions by k-NN, whose bank has regions of the training split."""
        return self.dataset.has_classes and bool(self.evaluate.neighbors)

    @property
    def embeds_training_split(self) -> bool:
        """Whether ``embed`` embeds the regions of the training split, too: for k-NN, whitening or head."""
        return self.classifies_by_neighbors or bool(self.embed.whiten) or self.distills

    @property
    def embeds_background(self) -> bool:
        """Whether ``embed`` embeds background regions: k-NN, the true regions and all classes need them."""
        return self.classifies_by_neighbors or self.embeds_true_regions or not self.finds_foreground

    def resolve(self) -> Settings:
        """Fill in the defaults of the backbone's preset, and make every path absolute.

        With absolute paths the settings mean the same to a worker in another working directory.

        Raises:
            UnknownModelError: there is no such backbone.
            InvalidSettingsError: settings of ``segment`` or ``embed`` contradict each other, or a path is not
                Unicode.

        """
        with name_parameters("setting backbone.{}"):
            preset = find_preset(self.backbone.name)
        filled = self._fill_in(preset)
        if (filled.segment.region_score, filled.segment.foreground_split) == ("sum", "average"):
            raise InvalidSettingsError(
                "segment.foreground_split average has no meaning for segment.region_score sum, because a "
                "larger region has a larger sum; set foreground_split to two-means, or region_score to mean"
            )
        sources = filled.embed.source
        for option, (source, others, leave_out) in _READ_BY_ONE_SOURCE.items():
            if getattr(filled.embed, option) not in (None, False) and source not in sources:
                raise InvalidSettingsError(
                    f"embed.{option} has no meaning for embed.source {', '.join(sources)}, which {others}; "
                    f"{leave_out}, or add {source} to embed.source"
                )
        return _absolute(filled.model_copy(update={"workspace": self._absolute_workspace()}), "")

    def at_defaults(self) -> Settings:
        """Set every setting to its default, but keep the chosen data set and segmenter.

        This is the reference of checkpoint keys (:mod:`flows.execution.keys`), so a default here must not
        depend on other settings: where the backbone's preset gives the default, this is the default of
        :class:`Preset` itself. A setting without a default is missing from the result.
        """
        return _at_defaults(self)._fill_in(Preset(timm_name=self.backbone.name))

    def _fill_in(self, preset: Preset) -> Settings:
        """Replace None by the value of the preset where the preset has one."""
        defaults: dict[str, dict[str, Any]] = {
            "backbone": {
                "input_size": preset.input_size,
                "token_layer": preset.token_layer,
                "attention_block": preset.attention_block,
            },
            "segment": {
                "attention_reduction": preset.attention_reduction,
                "region_score": preset.region_score,
                "foreground_split": preset.foreground_split,
            },
            "embed": {"layer": preset.embedding_layer, "size": preset.embedding_size},
        }
        sections = {}
        for name, values in defaults.items():
            section = getattr(self, name)
            missing = {key: value for key, value in values.items() if getattr(section, key) is None}
            sections[name] = section.model_copy(update=missing)
        return self.model_copy(update=sections)

    def _absolute_workspace(self) -> str:
        return (
            self.workspace
            if "://" in self.workspace
            else str(_absolute_path(Path(self.workspace), "workspace"))
        )


def _at_defaults(section: AnySection) -> AnySection:
    """Drop all values of a section, and of the sections and table entries in it."""
    kept: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Options) and field.default is not None:
            kept[name] = _at_defaults(value)
    return cast(AnySection, type(section).model_construct(**kept))


def _absolute(section: AnySection, prefix: str) -> AnySection:
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            changed[name] = _absolute_path(value, prefix + name)
        elif isinstance(value, Options):
            changed[name] = _absolute(value, f"{prefix}{name}.")
    return section.model_copy(update=changed)


def _absolute_path(path: Path, name: str) -> Path:
    """Make a path absolute. Also the working folder, which then is a part of it, must have a Unicode name."""
    absolute = path.absolute()
    if not is_unicode(str(absolute)):
        raise InvalidSettingsError(f"{name}: {absolute}: {NOT_UNICODE}")
    return absolute
