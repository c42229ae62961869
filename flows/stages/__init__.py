"""The stages of the pipeline, one module each. :data:`STAGE_TABLE` is the only list of them.

The command line reads the table for its help, so it holds names of classes instead of the classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.stage import Stage


@dataclass(frozen=True)
class StageEntry:
    """One line of the table.

    Attributes:
        name: name of the stage, of its module, its command, its flow and its folder in the workspace.
        class_name: name of its class in the module.
        description: one sentence for the help of its command and for its deployment.

    """

    name: str
    class_name: str
    description: str

    def load(self) -> Stage:
        """Import the module of the stage, and make the stage."""
        module = import_module(f"flows.stages.{self.name}")
        stage: Stage = getattr(module, self.class_name)()
        return stage


# In the order of the pipeline: a stage reads only stages before it.
STAGE_TABLE: tuple[StageEntry, ...] = (
    StageEntry("index", "IndexStage", "List the photographs of a data set, and refuse unusable ones."),
    StageEntry("extract", "ExtractStage", "Cache the tokens and the attention of the frozen ViT."),
    StageEntry("train", "TrainStage", "Train the Dynamic Clustering Network on the cached tokens."),
    StageEntry("segment", "SegmentStage", "Divide every photograph into regions, and choose the foreground."),
    StageEntry("embed", "EmbedStage", "Embed every region with the frozen ViT."),
    StageEntry("embed_truth", "EmbedTruthStage", "Embed every true region, as embed does."),
    StageEntry("token_layers", "TokenLayersStage", "Cache the tokens of further layers of the frozen ViT."),
    StageEntry("distill", "DistillStage", "Teach a head on the tokens the classes of the regions."),
    StageEntry("language", "LanguageStage", "Compare every patch with the names of the classes by CLIP."),
    StageEntry("evaluate", "EvaluateStage", "Measure the regions and their classes by every protocol."),
    StageEntry("report", "ReportStage", "Write a self-contained page with metrics, pictures and curves."),
)
