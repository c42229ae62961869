"""Settings of a run, one module for each section of a configuration or a few."""

from flows.settings.backbone import BackboneSettings, EmbedSettings, LanguageSettings
from flows.settings.choices import AnyDataset, AnySegmenter
from flows.settings.evaluate import CompareSettings, EvaluateSettings, ReportSettings, SweepSettings
from flows.settings.runner import AdaptiveSettings, RunnerSettings, TLSSettings
from flows.settings.segment import SegmentSettings
from flows.settings.settings import Settings, WorkspaceLocation
from flows.settings.train import DistillSettings, TrainSettings

__all__ = [
    "AdaptiveSettings",
    "AnyDataset",
    "AnySegmenter",
    "BackboneSettings",
    "CompareSettings",
    "DistillSettings",
    "EmbedSettings",
    "EvaluateSettings",
    "LanguageSettings",
    "ReportSettings",
    "RunnerSettings",
    "SegmentSettings",
    "Settings",
    "SweepSettings",
    "TLSSettings",
    "TrainSettings",
    "WorkspaceLocation",
]
