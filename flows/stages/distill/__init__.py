"""Stage ``distill``: a head on the cached tokens learns the classes of the regions, without labels."""

from flows.stages.distill.stage import DistillStage

__all__ = ["DistillStage"]
