"""Typed summaries of the stages: the few numbers that a stage leaves in its manifest for later stages.

A stage writes ``IndexSummary(...).to_json()``; a later stage reads ``IndexSummary.read(job)``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import ValidationError

from dcn.images.palette import PaletteName
from dcn.options import Options
from flows.errors import InvalidSummaryError
from flows.stage import Job
from storage import Manifest

# A folder with more kinds of files is no folder of photographs.
_SHOWN_ENDINGS = 12


class Summary(Options):
    """Base of the summaries.

    Attributes:
        stage: name of the stage that writes the summary.

    """

    stage: ClassVar[str]

    @classmethod
    def read(cls, job: Job) -> Self:
        """Read the summary of the stage's checkpoint in a run.

        Raises:
            CheckpointMissingError: the checkpoint is not complete.
            InvalidSummaryError: other software wrote the summary.

        """
        return cls.of(job.checkpoint(cls.stage).require())

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Read the summary of a complete manifest of the stage.

        Raises:
            InvalidSummaryError: other software wrote the summary.

        """
        try:
            return cls.model_validate(manifest.summary)
        except ValidationError as error:
            raise unreadable_summary(manifest, error) from error

    def to_json(self) -> dict[str, Any]:
        """Convert to the dictionary that the manifest stores."""
        return self.model_dump(mode="json")


def unreadable_summary(manifest: Manifest, error: ValidationError) -> InvalidSummaryError:
    """Say in one sentence which value of a summary this software does not understand."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return InvalidSummaryError(
        f"the summary of {manifest.stage}/{manifest.key} was written by other software ({place}: "
        f"{first['msg']}); delete that checkpoint, then run this again"
    )


class IndexSummary(Summary):
    """Summary of ``index``: the usable photographs and the classes of the data set.

    Attributes:
        images: photographs that can be used, ``N``.
        labelled: photographs of these with ground truth.
        refused: photographs and masks that cannot be used.
        skipped: number of files that are no photographs by ending, the most frequent first.
        class_names: name of each class, background first; empty without classes.
        ignore_label: label of pixels that count nowhere.
        palette: name of the colors of the classes.
        train_split: split that the network is trained on.
        evaluate_split: split that ``evaluate`` measures.
        left_out_of_part: number of refused photographs by part of the index; parts without any are absent.
        content: digest of the photographs and the ground truth.

    """

    stage = "index"
    images: int
    labelled: int
    refused: int
    skipped: dict[str, int]
    class_names: tuple[str, ...]
    ignore_label: int
    palette: PaletteName
    train_split: str
    evaluate_split: str
    left_out_of_part: dict[int, int]
    content: str

    def describe(self) -> str:
        """Say how many files were used, refused and skipped.

        Example::

            used 28 photographs, refused 2 photographs and 1 mask, 12 files skipped: 8 .xmp, 4 .txt

        """
        photographs = sum(self.left_out_of_part.values())
        masks = self.refused - photographs
        refused = _counted(photographs, "photograph") + (f" and {_counted(masks, 'mask')}" if masks else "")
        skipped = _counted(sum(self.skipped.values()), "file") + " skipped"
        shown = list(self.skipped.items())[:_SHOWN_ENDINGS]
        endings = [f"{count} {_dotted(ending)}" for ending, count in shown]
        if len(shown) < len(self.skipped):
            endings.append("and others")
        kinds = f": {', '.join(endings)}" if endings else ""
        return f"used {_counted(self.images, 'photograph')}, refused {refused}, {skipped}{kinds}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _dotted(ending: str) -> str:
    return ending if " " in ending else f".{ending}"


class ExtractSummary(Summary):
    """Summary of ``extract``: photographs that were read, those refused, and the shape of the tokens."""

    stage = "extract"
    images: int
    refused: int
    tokens_per_image: int
    token_width: int


class TrainSummary(Summary):
    """Summary of ``train``.

    Attributes:
        images: photographs that the network was trained on.
        held_out_images: photographs that selected the weights.
        iterations: length of the training; less than the setting if it ended early.
        ended: why training ended.
        held_out_modularity: best mean modularity of the held-out photographs.
        best_iteration: iteration of the weights that were kept.
        regions_per_image: mean number of regions in the last batch.
        prototypes_in_use: prototypes that some token of the last batch belongs to.
        collapsed_iterations: iterations in which the centers were the same for every photograph.
        largest_gradient_norm: over all iterations.

    """

    stage = "train"
    images: int
    held_out_images: int
    iterations: int
    held_out_modularity: float
    best_iteration: int
    regions_per_image: float
    prototypes_in_use: int
    collapsed_iterations: int
    largest_gradient_norm: float
    # Older checkpoints do not have this value. They ran all iterations.
    ended: Literal["all iterations are done", "held-out modularity stood still"] = "all iterations are done"

    def describe_end(self, iterations: int) -> str:
        """Say why training ended before ``iterations``, the setting; empty if it did not."""
        if self.iterations == iterations:
            return ""
        return f"ended after {self.iterations:,} of {iterations:,} iterations: {self.ended}"


class DistillSummary(Summary):
    """Summary of ``distill``.

    Attributes:
        images: photographs that the head learned from.
        held_out_images: photographs that selected its weights.
        clusters: number of clusters, without the background.
        taught: clusters of these that some confident region taught.
        vanished: clusters that were taught, and that the head finds in no photograph that taught them.
        iterations: length of each round; less than the setting if it ended early.
        agreement: for each round the share of the held-out patches with a target to which the head gives it.

    """

    stage = "distill"
    images: int
    held_out_images: int
    clusters: int
    taught: int
    vanished: tuple[int, ...]
    iterations: tuple[int, ...]
    agreement: tuple[float, ...]

    def describe(self) -> str:
        """Say how well the head agrees with what it learned.

        Example::

            ended after 650 iterations; the head agrees on 93.1 % of the held-out patches

        """
        rounds = f" in {len(self.iterations)} rounds" if len(self.iterations) > 1 else ""
        return (
            f"ended after {sum(self.iterations):,} iterations{rounds}; the head agrees on "
            f"{100 * self.agreement[-1]:.1f} % of the held-out patches"
        )


class SegmentSummary(Summary):
    """Summary of ``segment``: photographs with regions, seconds and mean numbers of regions for each.

    The seconds are unknown if another program made the label maps.
    """

    stage = "segment"
    images: int
    segmentation_seconds_per_image: float | None
    regions_per_image: float
    foreground_regions_per_image: float
