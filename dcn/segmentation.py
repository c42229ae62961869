"""What a model finds in one photograph: its regions, and what is known about each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from dcn.class_centers import Classified
from dcn.images.palette import overlay, region_palette

if TYPE_CHECKING:
    from dcn.model import Model

What = Literal["regions", "semantic"]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The regions of one photograph. Arrays have a row for each of the ``k`` regions that the model can find.

    Attributes:
        photograph: ``[H, W, 3]`` uint8 RGB, upright.
        labels: ``[H, W]`` uint8, the region of every pixel, 0 to k - 1.
        assignment: ``[n, k]`` float16 soft assignment of the patches to the regions (equation 5), patches in
            row-major order.
        area: ``[k]`` in pixels; 0 if the region does not occur.
        box: ``[k, 4]`` top, left, bottom, right in pixels; bottom and right are exclusive.
        score: ``[k]`` foreground score, from the CLS attention of the pixels (section 4.1.2).
        foreground: ``[k]`` whether the region is foreground.
        clusters: ``[n, K + 1]`` float16 probabilities of the clusters of each patch, by the head of the
            model; 0 clusters without a head.
        cluster_labels: ``[H, W]`` uint8, the cluster of every pixel, by the head; None without one.
        embeddings: embedding ``[d]`` of each region that has one already, by its label.

    Example::

        result = model.segment("photo.jpg")
        for region in result.regions:
            print(region.label, region.area, region.box, region.class_name)

    """

    photograph: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    assignment: npt.NDArray[np.float16]
    area: npt.NDArray[np.int64]
    box: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]
    foreground: npt.NDArray[np.bool_]
    clusters: npt.NDArray[np.float16]
    cluster_labels: npt.NDArray[np.uint8] | None
    _model: Model = field(repr=False)
    embeddings: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict, init=False, repr=False)

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions that occur, in the order of their labels."""
        return tuple(Region(int(label), self) for label in np.flatnonzero(self.area))

    @property
    def class_names(self) -> tuple[str, ...]:
        """``[C]`` name of each class; the first is the background. Empty if the model knows no classes."""
        centers = self._model.class_centers
        return () if centers is None else centers.names

    @cached_property
    def semantic(self) -> npt.NDArray[np.uint8] | None:
        """``[H, W]`` uint8, the class of every pixel; None if the model knows no classes.

        With a head the pixels have classes of their own. Without one a pixel has the class of its region, and
        the first access costs a forward pass of the backbone for each foreground region.
        """
        centers, head = self._model.class_centers, self._model.stored.description.head
        if centers is not None and head is not None:
            assert self.cluster_labels is not None
            classes = centers.description.named.of_clusters(np.array(head.matched))  # [K + 1]
            return classes[self.cluster_labels]  # [H, W]
        return None if self._classified is None else self._classified.classes[self.labels]

    def embedding(self, label: int) -> npt.NDArray[np.float32]:
        """Compute the embedding of a region, ``[d]``, as the run of the model did (section 4.1.1).

        By default it is that of the masked crop. The first call costs a forward pass of the backbone for each
        region that has none yet.

        Raises:
            ValueError: the region does not occur.

        """
        if not self.area[label]:
            raise ValueError(f"region {label} does not occur in this photograph; take a label of regions")
        if label not in self.embeddings:
            self._model.embed([self], foreground_only=bool(self.foreground[label]))
        return self.embeddings[label]

    def overlay(self, what: What = "regions") -> Image.Image:
        """Draw the regions or the classes over the photograph.

        Raises:
            ValueError: the model knows no classes.

        """
        labels, palette = self._map(what)
        return Image.fromarray(overlay(self.photograph, labels, palette))

    def to_coco(self, what: What = "regions", file_name: str = "", number: int = 1) -> dict[str, Any]:
        """Describe the regions or the classes as a COCO document, with masks in RLE of pycocotools.

        Args:
            what: ``"regions"``, which have one category, or ``"semantic"``: a mask for each class but the
                background.
            file_name: file of the photograph, as the document names it.
            number: id of the photograph in the document.

        Raises:
            ValueError: the model knows no classes.

        """
        from dcn.coco import REGIONS, class_categories, coco_annotations, coco_document, coco_image

        labels, _ = self._map(what)
        regions = what == "regions"
        categories: Sequence[int] = [1] * len(self.area) if regions else range(len(self.class_names))
        return coco_document(
            [coco_image(number, file_name, *labels.shape)],
            coco_annotations(labels, number, categories),
            REGIONS if regions else class_categories(self.class_names),
        )

    def _map(self, what: What) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Choose a label map ``[H, W]`` and its palette ``[256, 3]``."""
        if what == "regions":
            return self.labels, region_palette()
        semantic, centers = self.semantic, self._model.class_centers
        if semantic is None or centers is None:
            raise ValueError("this model knows no classes; take regions, or a model of a run with classes")
        return semantic, centers.palette()

    @cached_property
    def _classified(self) -> Classified | None:
        """Classes of every region. Background regions, which have no embedding here, keep the background."""
        centers = self._model.class_centers
        if centers is None:
            return None
        if self._model.has_head:
            assert self.semantic is not None
            return _majority(self.labels, self.semantic, len(self.area), centers.background)
        embedding = np.zeros((len(self.area), centers.centers.shape[1]), dtype=np.float32)  # [k, d]
        for label in np.flatnonzero(self.foreground).tolist():
            embedding[label] = self.embedding(label)
        return centers.classify(embedding)


@dataclass(frozen=True, eq=False)
class Region:
    """One region of a photograph.

    Attributes:
        label: its value in the label map.

    """

    label: int
    _result: Segmentation = field(repr=False)

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return int(self._result.area[self.label])

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right in pixels; bottom and right are exclusive."""
        return cast(tuple[int, int, int, int], tuple(self._result.box[self.label].tolist()))

    @property
    def score(self) -> float:
        """Foreground score, from the CLS attention of its pixels."""
        return float(self._result.score[self.label])

    @property
    def foreground(self) -> bool:
        """Whether it is foreground."""
        return bool(self._result.foreground[self.label])

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """``[H, W]`` whether a pixel is in the region."""
        mask: npt.NDArray[np.bool_] = self._result.labels == self.label
        return mask

    @property
    def embedding(self) -> npt.NDArray[np.float32]:
        """``[d]`` embedding. The first access costs a forward pass of the backbone."""
        return self._result.embedding(self.label)

    @property
    def class_index(self) -> int | None:
        """Number of its class; None if the model knows no classes."""
        found = self._result._classified
        return None if found is None else int(found.classes[self.label])

    @property
    def class_name(self) -> str | None:
        """Name of its class; None if the model knows no classes."""
        index = self.class_index
        return None if index is None else self._result.class_names[index]

    @property
    def confidence(self) -> float | None:
        """How sure the class is, 0 to 1: with a head the share of the region's pixels that have it.

        Without a head see :class:`dcn.class_centers.Classified`; then it is None for background, which
        attention decides. None if the model knows no classes.
        """
        found = self._result._classified
        sure = self.foreground or self._result._model.has_head
        return None if found is None or not sure else float(found.confidence[self.label])

    @property
    def distance(self) -> float | None:
        """Distance of its embedding to the center of its class, 0 to 2.

        None with a head, which needs no embedding; and None where confidence is None.
        """
        found = self._result._classified
        known = self.foreground and not self._result._model.has_head
        return float(found.distance[self.label]) if found is not None and known else None


def _majority(
    labels: npt.NDArray[np.uint8], semantic: npt.NDArray[np.uint8], num_regions: int, background: int
) -> Classified:
    """Give each region the class of most of its pixels; a region that does not occur is background."""
    pairs = labels.astype(np.int64).ravel() * 256 + semantic.ravel()
    pixels = np.bincount(pairs, minlength=num_regions * 256).reshape(num_regions, 256)  # [k, classes]
    area = pixels.sum(axis=1)  # [k]
    classes = np.where(area > 0, pixels.argmax(axis=1), background).astype(np.uint8)
    confidence = (pixels.max(axis=1) / np.maximum(area, 1)).astype(np.float32)
    return Classified(classes, np.full(num_regions, np.nan, dtype=np.float32), confidence)
