"""The interface of a segmenter: its options, its traits, and how it assigns tokens to regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from dcn.options import Options

if TYPE_CHECKING:
    from dcn.network import DynamicClusteringNetwork

Floats = npt.NDArray[np.float32]
# Every segmenter that draws random numbers draws them from this seed, so that a run can be repeated.
SEED = 0


@dataclass(frozen=True)
class Shared:
    """Inputs of a segmenter that all images of a data set share.

    Attributes:
        fitted: the array that :meth:`Segmenter.fit` returned for this data set; None if it returned None.
        network: the trained network, for segmenters with ``trained``; else None.
        resolution: resolution of the modularity (section 3.3), for segmenters with ``uses_resolution``.

    """

    fitted: npt.NDArray[np.floating] | None = None
    network: DynamicClusteringNetwork | None = None
    resolution: float = 1.0


class Segmenter(Options, ABC):
    """Base class of all segmenters. Its fields are the options of the segmenter.

    A new segmenter is one module with a subclass, and one line in :data:`dcn.segmenters.SEGMENTERS`.
    Settings, ``compare`` and the documentation follow from that table. Import heavy libraries inside the
    methods: the settings import this module, and reading settings should be quick.

    Attributes:
        trained: the segmenter uses the trained network.
        cosines: the assignment holds cosines of tokens and cluster centers (equation 5), so that the
            modularity loss is defined for it.
        regions_are_classes: regions are classes of the whole data set, so nothing is left to classify.
        reads_maps: the segmenter reads a label map for each photograph (:meth:`read_map`) and computes
            nothing from tokens. The borders of its regions stay where they are.
        uses_resolution: the result depends on the resolution of the modularity.
        compared_at: numbers of regions at which ``compare`` runs the segmenter: ``every`` requested number;
            the ``largest`` one, for a method that finds the number itself; or its ``own`` number alone.
        published_miou: mIoU on VOC 2012 with DINO ViT-S/8 and k-means (table 1 of the paper), if known.
        name: name of the segmenter in configurations. Give it the type ``Literal["..."]``.

    """

    trained: ClassVar[bool] = False
    cosines: ClassVar[bool] = False
    regions_are_classes: ClassVar[bool] = False
    reads_maps: ClassVar[bool] = False
    uses_resolution: ClassVar[bool] = False
    compared_at: ClassVar[Literal["every", "largest", "own"]] = "every"
    published_miou: ClassVar[str | None] = None

    name: str

    @property
    def needs_colors(self) -> bool:
        """Whether the segmenter reads the mean colors of the patches beside their tokens."""
        return False

    def content(self) -> dict[str, Any]:
        """Select the options that name files, with what identifies the content of the files, as JSON.

        It stands in keys instead of the names of the files. Most segmenters read no files.
        """
        return {}

    @abstractmethod
    def columns(self, num_prototypes: int) -> int:
        """Number of columns ``k`` of an assignment: the largest possible number of regions.

        Args:
            num_prototypes: number of prototypes of the trained network.

        """

    def fit(self, batches: Iterable[npt.NDArray[np.float16]]) -> npt.NDArray[np.floating] | None:
        """Fit the segmenter to a data set, once, before the first image is segmented.

        Args:
            batches: tokens ``[b, n, d]`` of all training images in random order. Iterated once at most.

        Returns:
            An array that :attr:`Shared.fitted` gives back later, or None if there is nothing to learn.

        """
        return None

    def assign(self, tokens: Floats, shared: Shared, colors: Floats | None) -> Floats:
        """Assign the tokens of one image to regions. Called from several threads at once.

        Args:
            tokens: ``[n, d]``, ``n`` a square number of patches in row-major order.
            shared: everything else that the segmenter may read.
            colors: ``[n, 3]`` mean color of every patch in [0, 1]; None unless ``needs_colors``.

        Returns:
            ``[n, k]``. A token belongs to the column with the largest value, also after rounding to float16.
            :func:`dcn.segmenters.assignment.assignment_of` makes such an array of labels and scores.

        """
        raise NotImplementedError(f"{type(self).__name__} has neither assign nor assign_batch")

    @property
    def batched(self) -> bool:
        """Whether the segmenter handles a batch of images better than one image per thread."""
        return type(self).assign_batch is not Segmenter.assign_batch

    def assign_batch(self, tokens: npt.NDArray[np.float16], shared: Shared, colors: Floats | None) -> Floats:
        """Assign the tokens of several images at once. Override this method instead of :meth:`assign`.

        Args:
            tokens: ``[B, n, d]``.
            shared: as in :meth:`assign`.
            colors: ``[B, n, 3]`` or None, as in :meth:`assign`.

        Returns:
            ``[B, n, k]``.

        """
        raise NotImplementedError(f"{type(self).__name__} handles one image per thread: call assign")

    def read_map(self, photograph: str, side: int) -> npt.NDArray[np.uint8]:
        """Read the label map of a photograph. Segmenters with ``reads_maps`` have this method.

        Called from several threads at once.

        Args:
            photograph: id of the photograph.
            side: side of the result.

        Returns:
            ``[side, side]`` regions, numbered from 0 without gaps.

        Raises:
            InvalidLabelMapError: the map is missing or cannot be used.
            OSError: the file cannot be read now, but a retry may succeed.

        """
        raise NotImplementedError(f"{type(self).__name__} reads no label maps: call assign")

    def background_region(self, labels: npt.NDArray[np.integer]) -> int | None:
        """Label of the background in a label map ``[H, W]``; None leaves the decision to attention."""
        return None
