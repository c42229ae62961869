"""Embeddings from several sources: lengths of the parts, missing parts, and the order of batches."""

from pathlib import Path

import numpy as np
import pytest

from dcn.backbone import Backbone
from dcn.crops import masked_inputs, patches_inside
from dcn.embedding_sources import Source
from dcn.model_description import EmbeddingDescription
from dcn.region_embedder import RegionEmbedder, RegionViews
from dcn.regions import region_boxes
from tests.conftest import TINY_VIT, draw_scene


@pytest.fixture(scope="module")
def backbone(tiny_weights: Path) -> Backbone:
    return Backbone.from_preset(TINY_VIT, tiny_weights, "cpu")[0]


def embedder(
    backbone: Backbone, *source: Source, size: int = 64, drop_masked: bool = False
) -> RegionEmbedder:
    description = EmbeddingDescription(layer=-3, size=size, source=source, drop_masked=drop_masked)
    return RegionEmbedder(backbone, description)


def views(embedder: RegionEmbedder, scenes: int = 4) -> list[RegionViews]:
    """The true regions of some scenes."""
    found: list[RegionViews] = []
    for seed in range(scenes):
        photograph, mask = draw_scene(seed)
        tokens = np.random.default_rng(seed).normal(size=(16, 192)).astype(np.float16)
        found.extend(embedder.views(photograph, mask, region_boxes(mask, 3), tokens).values())
    return found


def test_each_part_of_a_joined_embedding_has_unit_length(backbone: Backbone) -> None:
    sources: tuple[Source, ...] = ("tokens", "crop-unmasked")
    both = embedder(backbone, *sources)
    found = both.embed(views(both), 4)
    assert found.shape == (len(views(both)), both.width) == (len(found), 384)
    for part, alone in zip(np.split(found, 2, axis=1), sources, strict=True):
        single = embedder(backbone, alone)
        expected = single.embed(views(single), 4)
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(part * np.linalg.norm(expected, axis=1)[:, None], expected, atol=1e-4)


def test_a_region_without_one_part_has_no_embedding(backbone: Backbone) -> None:
    both = embedder(backbone, "crop", "tokens")
    first, second, *rest = views(both)
    unread = RegionViews(first.crops, np.zeros(192, np.float32))
    broken = RegionViews(second.crops, np.full(192, np.nan, np.float32))
    found = both.embed([unread, broken, *rest], 4)
    assert not found[0].any()
    assert np.isnan(found[1]).any()
    assert np.isfinite(found[2:]).all()


def test_regions_are_embedded_alike_in_any_batch_of_dropped_patches(backbone: Backbone) -> None:
    dropping = embedder(backbone, "crop", size=128, drop_masked=True)
    regions = views(dropping)
    kept = patches_inside([region.crops[0] for region in regions], 16)
    assert len(set(kept.sum(axis=1).tolist())) > 2
    assert dropping.batch_size(4) > 4
    found = dropping.embed(regions, 4)
    for place, region in enumerate(regions):
        np.testing.assert_allclose(dropping.embed([region], 1)[0], found[place], atol=1e-4)
    whole = embedder(backbone, "crop", size=128).embed(regions, 4)
    assert (np.abs(whole - found).max(axis=1) > 1e-3).all()  # every region has patches that are dropped


def test_the_paper_is_one_source(backbone: Backbone) -> None:
    plain = embedder(backbone, "crop")
    regions = views(plain)
    expected = backbone.embed(masked_inputs(backbone, [region.crops[0] for region in regions]), -3).numpy()
    np.testing.assert_allclose(plain.embed(regions, len(regions)), expected, atol=1e-6)
