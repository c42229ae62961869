"""What a segmenter is: its options, its traits, and how it turns tokens into an assignment."""

from __future__ import annotations

from typing import ClassVar

from dcn.options import Options


class Segmenter(Options):
    """Base of every segmenter. The fields are its options; the traits below are what other stages ask.

    Attributes:
        trained: it uses the network that the stage ``train`` trains.
        cosines: its assignment holds cosines of tokens with cluster centers (equation 5), so the loss is
            defined for it.
        regions_are_classes: its regions are classes of the whole data set, so there is nothing to classify.

    """

    trained: ClassVar[bool] = False
    cosines: ClassVar[bool] = False
    regions_are_classes: ClassVar[bool] = False

    name: str

    @property
    def needs_colors(self) -> bool:
        """It looks at the mean colors of the patches beside the tokens."""
        return False
