"""A model: a backbone and a trained network, which find the regions and the classes of photographs."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from PIL import Image

from dcn.backbone import Backbone
from dcn.class_centers import ClassCenters
from dcn.class_head import ClassHead
from dcn.device import choose_device
from dcn.errors import InvalidPhotographError, WeightsUnavailableError
from dcn.flip_averaging import compute_features
from dcn.foreground import foreground_regions, reduce_heads, region_scores
from dcn.images.files import read_file
from dcn.images.photograph import decode_photograph, squash, upright_pixels
from dcn.kernels.cpu_threads import map_in_threads
from dcn.model_card import TEMPLATE, card_values
from dcn.model_description import EmbeddingDescription, RegionRules
from dcn.model_file import StoredModel, load_model
from dcn.network import DynamicClusteringNetwork
from dcn.refinement import pixel_label_maps
from dcn.region_embedder import RegionEmbedder, RegionViews
from dcn.regions import region_areas, region_boxes
from dcn.segmentation import Segmentation
from dcn.segmenters import DCNSegmenter, Shared
from dcn.weights.presets import find_preset
from dcn.whitening import whiten_known

Pixels = npt.NDArray[np.uint8]
# A photograph: its file, an image of Pillow, or [H, W, 3] RGB.
Photograph = str | os.PathLike[str] | Image.Image | Pixels

# Photographs, and crops of regions, that the backbone gets at once.
BATCH = 8
_CROPS = 32
MODEL_FILE = "model.safetensors"


class Assigned(NamedTuple):
    """What one forward pass says about the ``n`` patches of each of ``B`` photographs, float16.

    Attributes:
        assignment: ``[B, n, k]`` soft assignment to the regions (equation 5).
        attention: ``[B, h, n]`` attention of the CLS token.
        clusters: ``[B, n, K + 1]`` probabilities of the clusters, by the head; 0 clusters without a head.

    """

    assignment: npt.NDArray[np.float16]
    attention: npt.NDArray[np.float16]
    clusters: npt.NDArray[np.float16]


class Model(
    ModelHubMixin,
    library_name="dynamic-clustering-network",
    pipeline_tag="image-segmentation",
    tags=["unsupervised-segmentation", "dynamic-clustering-network"],
    model_card_template=TEMPLATE,
):
    """A backbone and a network that find the regions of photographs, and the classes if the model knows any.

    :func:`dcn.load` opens a model. ``save_pretrained(folder)``, ``from_pretrained(folder or id)`` and
    ``push_to_hub(id)`` work as in the Hugging Face Hub: the folder has ``model.safetensors``, which is the
    whole model, ``config.json`` and a model card. Nothing is pickled. The weights of the backbone are not in
    it: they come from timm's hub, from a package, or from a file.

    Args:
        stored: network, description and class centers.
        weights: local file of the backbone's weights; None takes the ones that the description names.
        device: device of PyTorch, such as ``cuda:1``; ``auto`` is CUDA if there is one, else the CPU.
        backbone: the backbone, if it is loaded already; else the first photograph loads it.

    Attributes:
        stored: network, description and class centers.

    Example::

        model = dcn.load("mine.yaml")
        result = model.segment("photo.jpg")
        result.overlay().save("regions.png")

    """

    # The mixin would copy all arguments of __init__ into a config; config.json is written below instead.
    _hub_mixin_config = {}  # noqa: RUF012 - the mixin declares it for instances

    def __init__(
        self,
        stored: StoredModel,
        weights: Path | None = None,
        device: str = "auto",
        backbone: Backbone | None = None,
    ) -> None:
        self.stored = stored
        self._weights = weights
        self._device = choose_device(device)
        if backbone is not None:
            self.backbone = backbone

    def __repr__(self) -> str:
        described = self.stored.description.backbone
        classes = "no classes" if self.class_centers is None else f"{len(self.class_centers.names)} classes"
        return f"Model({described.name}, {self.num_regions} regions, {classes})"

    @property
    def num_regions(self) -> int:
        """Largest number of regions in a photograph, ``k``."""
        return len(self.stored.network.prototypes)

    @cached_property
    def class_centers(self) -> ClassCenters | None:
        """The classes that the model knows; None if it knows none."""
        classes, centers = self.stored.description.classes, self.stored.class_centers
        return None if classes is None or centers is None else ClassCenters(centers, classes)

    @property
    def has_head(self) -> bool:
        """Whether a head gives the classes of patches, so that regions need no crops."""
        return self.stored.head is not None

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone, loaded at the first use.

        Raises:
            WeightsUnavailableError: its weights can neither be downloaded nor read from a file.

        """
        described = self.stored.description.backbone
        weights = self._weights or (Path(described.weights) if described.weights else None)
        if weights is not None and self._weights is None and not weights.is_file():
            raise WeightsUnavailableError(
                f"the model was trained with the file {described.weights} as weights of {described.name}, "
                f"and there is no such file here; give a copy of it as weights",
                parameter="weights",
            )
        return Backbone.from_preset(described.name, weights, self._device, described.precision)[0]

    @cached_property
    def _network(self) -> DynamicClusteringNetwork:
        """The network on the device of the backbone, in its precision."""
        described = self.stored.description.backbone
        network = copy.deepcopy(self.stored.network)
        return network.to(self.backbone.device, getattr(torch, described.precision))

    @cached_property
    def _head(self) -> ClassHead | None:
        """The head on the device of the backbone, in float32: it has little to compute."""
        head = self.stored.head
        return None if head is None else copy.deepcopy(head).to(self.backbone.device)

    @cached_property
    def _rules(self) -> RegionRules:
        description = self.stored.description
        return description.regions or RegionRules.of_preset(find_preset(description.backbone.name))

    @cached_property
    def _embedding(self) -> EmbeddingDescription:
        description = self.stored.description
        return description.embedding or EmbeddingDescription.of_preset(find_preset(description.backbone.name))

    # -- photographs -------------------------------------------------------------------------------------

    @overload
    def segment(self, image: str | os.PathLike[str] | Image.Image) -> Segmentation: ...  # type: ignore[overload-overlap]

    @overload
    def segment(self, image: Pixels) -> Any: ...

    @overload
    def segment(self, image: Sequence[Photograph]) -> list[Segmentation]: ...

    def segment(self, image: Photograph | Sequence[Photograph]) -> Segmentation | list[Segmentation]:
        """Find the regions of a photograph, or of a batch of photographs.

        Args:
            image: a file, an image of Pillow, or an array ``[H, W, 3]`` uint8 RGB. A list of these, or an
                array ``[N, H, W, 3]``, is a batch. A file or an image of Pillow is turned as its EXIF data
                say.

        Returns:
            The result of the photograph; a list of results for a batch.

        Raises:
            InvalidPhotographError: a photograph cannot be decoded, or an array has another shape or type.
            OSError: a file cannot be read.
            WeightsUnavailableError: the weights of the backbone cannot be loaded.

        """
        several = image.ndim > 3 if isinstance(image, np.ndarray) else isinstance(image, Sequence)
        if several and not isinstance(image, str):
            return list(self.segment_all(cast(Sequence[Photograph], image)))
        return next(self.segment_all([cast(Photograph, image)]))

    def segment_all(self, images: Iterable[Photograph]) -> Iterator[Segmentation]:
        """Find the regions of any number of photographs, in batches. Memory holds one batch.

        Args:
            images: as in :meth:`segment`.

        Yields:
            The result of each photograph, in order.

        """
        photographs = map(read_photograph, images)
        while few := list(islice(photographs, BATCH)):
            assigned = self.assign(np.stack(map_in_threads(self.squash, few)))
            described = zip(few, *assigned, strict=True)
            yield from map_in_threads(lambda one: self.describe(*one), list(described))

    def squash(self, photograph: Pixels) -> Pixels:
        """Resize a photograph ``[H, W, 3]`` to the square input of the backbone, ``[S, S, 3]``."""
        return squash(photograph, self.stored.description.backbone.input_size)

    def assign(self, squashed: Pixels) -> Assigned:
        """Assign the patches of photographs to regions (section 3.2), and to clusters if there is a head.

        The backbone computes here, once for each photograph.

        Args:
            squashed: ``[B, S, S, 3]`` uint8 RGB from :meth:`squash`.

        Raises:
            WeightsUnavailableError: the tokens are not finite.

        """
        described, of_head = self.stored.description.backbone, self.stored.description.head
        inputs = self.backbone.preprocess(squashed)
        features = compute_features(
            self.backbone,
            inputs,
            described.token_layer,
            described.attention_block,
            of_head.layers if of_head else (),
            flip=bool(described.flip),
        )
        tokens = features.tokens.half().cpu().numpy()  # [B, n, d], as the stages of a run store them
        clusters = np.zeros((*tokens.shape[:2], 0), dtype=np.float16)  # [B, n, 0]
        if self._head is not None:
            layers = [layer.half().float() for layer in features.more_tokens]  # stored likewise
            clusters = self._head.probabilities(layers).half().cpu().numpy()  # [B, n, K + 1]
        if not (np.isfinite(tokens).all() and np.isfinite(clusters).all()):
            raise WeightsUnavailableError(
                f"the tokens of {described.name} are not finite in float16; check its weights",
                parameter="weights",
            )
        assignment = DCNSegmenter().assign_batch(tokens, Shared(network=self._network), None)
        return Assigned(assignment.astype(np.float16), features.attention.half().cpu().numpy(), clusters)

    def describe(
        self,
        photograph: Pixels,
        assignment: npt.NDArray[np.float16],
        attention: npt.NDArray[np.float16],
        clusters: npt.NDArray[np.float16],
    ) -> Segmentation:
        """Find the regions of pixels, and their foreground (section 4.1.2).

        Safe to call from several threads.

        Args:
            photograph: ``[H, W, 3]`` uint8 RGB.
            assignment: ``[n, k]`` of :meth:`assign`.
            attention: ``[h, n]`` of :meth:`assign`.
            clusters: ``[n, K + 1]`` of :meth:`assign`.

        """
        rules, k = self._rules, assignment.shape[1]
        maps = [assignment, clusters] if clusters.shape[1] else [assignment]
        labels, *of_head = pixel_label_maps(maps, photograph, rules.refine, rules.smallest_part)
        area = region_areas(labels, k)
        pixels = reduce_heads(torch.from_numpy(attention).float(), rules.attention_reduction)
        score = region_scores(pixels, labels, k, rules.region_score)
        found = foreground_regions(score, area, rules.foreground_split)
        foreground = area > 0 if rules.background == "none" else found
        box = region_boxes(labels, k)
        cluster_labels = of_head[0] if of_head else None
        return Segmentation(
            photograph, labels, assignment, area, box, score, foreground, clusters, cluster_labels, self
        )

    def embed(self, results: Sequence[Segmentation], foreground_only: bool = True) -> None:
        """Compute the embeddings of the regions of several results in common batches (section 4.1.1).

        The results keep them, so nothing is computed twice.

        Args:
            results: results of this model.
            foreground_only: leave out background regions, which have no class of their own.

        """
        embedder = RegionEmbedder(self.backbone, self._embedding)
        found: list[tuple[Segmentation, int, RegionViews]] = []
        for result, tokens in zip(results, self._embedded_tokens(results), strict=True):
            wanted = result.foreground if foreground_only else result.area > 0  # [k]
            wanted = wanted & ~np.isin(np.arange(len(wanted)), list(result.embeddings))
            views = embedder.views(result.photograph, result.labels, result.box * wanted[:, None], tokens)
            found.extend((result, label, view) for label, view in views.items())
        size = embedder.batch_size(_CROPS)
        for start in range(0, len(found), size):
            batch = found[start : start + size]
            vectors = embedder.embed([view for _, _, view in batch], _CROPS)  # [B, width]
            if self.stored.whitening is not None:
                vectors = whiten_known(self.stored.whitening, vectors)
            for (result, label, _), vector in zip(batch, vectors, strict=True):
                result.embeddings[label] = vector

    def _embedded_tokens(self, results: Sequence[Segmentation]) -> Iterator[npt.NDArray[np.float16] | None]:
        """Compute the tokens ``[n, d]`` of photographs if embeddings are made of them; else None for each."""
        if not self._embedding.needs_tokens:
            yield from (None for _ in results)
            return
        described = self.stored.description.backbone
        layer = self._embedding.token_layer or described.token_layer
        for start in range(0, len(results), BATCH):
            squashed = np.stack([self.squash(result.photograph) for result in results[start : start + BATCH]])
            inputs = self.backbone.preprocess(squashed)
            features = compute_features(self.backbone, inputs, layer, layer, flip=bool(described.flip))
            yield from features.tokens.half().cpu().numpy()  # as the stages of a run read them

    # -- the conventions of the Hugging Face Hub -----------------------------------------------------------

    def _save_pretrained(self, save_directory: Path) -> None:
        stored = self.stored.portable()
        (save_directory / MODEL_FILE).write_bytes(stored.to_bytes())
        config = {
            "model_type": "dynamic-clustering-network",
            "description": stored.description.model_dump(mode="json"),
        }
        (save_directory / "config.json").write_text(json.dumps(config, indent=2))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> Self:
        file = (
            Path(model_id) / MODEL_FILE
            if Path(model_id).is_dir()
            else hf_hub_download(
                repo_id=model_id,
                filename=MODEL_FILE,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                token=token,
                local_files_only=local_files_only,
            )
        )
        return cls(load_model(Path(file)), **model_kwargs)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Write the model card: what the model is, how it was made, and how to use it."""
        return super().generate_model_card(*args, **card_values(self.stored.portable().description), **kwargs)


def read_photograph(image: Photograph) -> Pixels:
    """Read a photograph, ``[H, W, 3]`` uint8 RGB, upright.

    Args:
        image: a file, an image of Pillow, or an array.

    Raises:
        InvalidPhotographError: it cannot be decoded, or an array has another shape or type.
        OSError: the file cannot be read.

    """
    if isinstance(image, Image.Image):
        return upright_pixels(image)
    if not isinstance(image, np.ndarray):
        return decode_photograph(read_file(Path(image)))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InvalidPhotographError(
            f"an array of {image.dtype} with the shape {list(image.shape)} is no photograph; give uint8 RGB "
            f"of the shape [H, W, 3], or [N, H, W, 3] for a batch"
        )
    return image
