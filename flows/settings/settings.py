"""All settings of a run: what a configuration file, ``--set`` and the form of a deployment say.

Unknown keys are errors. A setting that is None takes the default of the backbone's preset, which
:meth:`Settings.resolve` fills in, so that a checkpoint's manifest names the value that was used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from dcn.datasets import SampleOptions
from dcn.options import Options, PositiveInt
from dcn.weights.presets import find_preset
from flows.settings.backbone import BackboneSettings, EmbedSettings, LanguageSettings
from flows.settings.choices import AnyDataset
from flows.settings.evaluate import CompareSettings, EvaluateSettings, ReportSettings, SweepSettings
from flows.settings.runner import RunnerSettings
from flows.settings.segment import SegmentSettings
from flows.settings.train import TrainSettings
from storage import StorageError
from storage.stores.store import check_location


def _check_location(location: str) -> str:
    try:
        return check_location(location)
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


class Settings(Options):
    """Everything that a run depends on."""

    dataset: AnyDataset = SampleOptions()
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
    shard_images: PositiveInt = Field(64, description="Number of images in one file of a new checkpoint.")

    @property
    def num_regions(self) -> int:
        """Columns of an assignment: the most regions of an image."""
        return self.segment.segmenter.columns(self.train.num_prototypes)

    @property
    def regions_are_classes(self) -> bool:
        """The segmenter gives classes of the whole data set, so there is nothing to classify."""
        return self.segment.segmenter.regions_are_classes

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
        elif isinstance(value, Options):
            changed[name] = _absolute(value)
    return section.model_copy(update=changed)
