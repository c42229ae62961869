"""Everything that a run depends on, one module for each concern."""

from flows.settings.backbone import BackboneSettings, EmbedSettings, LanguageSettings
from flows.settings.datasets import (
    BSDS500Settings,
    DatasetSettings,
    FolderSettings,
    SampleSettings,
    VOC2012Settings,
)
from flows.settings.evaluate import CompareSettings, EvaluateSettings, ReportSettings, SweepSettings
from flows.settings.runner import AdaptiveSettings, RunnerSettings, TLSSettings
from flows.settings.segment import (
    DCNSegmenter,
    KMeansSegmenter,
    ModularitySegmenter,
    NCutSegmenter,
    PixelsSegmenter,
    SegmenterSettings,
    SegmentSettings,
    SpectralSegmenter,
)
from flows.settings.settings import Settings, WorkspaceLocation
from flows.settings.train import TrainSettings

__all__ = [
    "AdaptiveSettings",
    "BSDS500Settings",
    "BackboneSettings",
    "CompareSettings",
    "DCNSegmenter",
    "DatasetSettings",
    "EmbedSettings",
    "EvaluateSettings",
    "FolderSettings",
    "KMeansSegmenter",
    "LanguageSettings",
    "ModularitySegmenter",
    "NCutSegmenter",
    "PixelsSegmenter",
    "ReportSettings",
    "RunnerSettings",
    "SampleSettings",
    "SegmentSettings",
    "SegmenterSettings",
    "Settings",
    "SpectralSegmenter",
    "SweepSettings",
    "TLSSettings",
    "TrainSettings",
    "VOC2012Settings",
    "WorkspaceLocation",
]
