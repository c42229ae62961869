"""A model on photographs: what it takes, what it finds, and its folder in the conventions of the hub."""

import io
import json
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from pycocotools import mask as run_lengths

from dcn.backbone import Backbone
from dcn.class_head import ClassHead
from dcn.class_names import NamedClasses
from dcn.crops import crop_regions, masked_inputs
from dcn.embedding_sources import CROP_VIEWS
from dcn.errors import InvalidPhotographError, WeightsUnavailableError
from dcn.model import Model
from dcn.model_card import card_values
from dcn.model_description import (
    BackboneDescription,
    ClassDescription,
    EmbeddingDescription,
    HeadDescription,
    ModelDescription,
    RegionRules,
)
from dcn.model_file import StoredModel
from dcn.network import DynamicClusteringNetwork
from dcn.refinement import fine_label_map
from dcn.region_tokens import mean_tokens
from dcn.regions import resize_label_map
from dcn.whitening import TokenWhitening
from tests.conftest import TINY_VIT, draw_scene

CLASSES = ClassDescription(
    matched=(0, 1, 2), named=NamedClasses(names=("background", "cat", "tree"), class_of_cluster=(0, 1, 2))
)


def stored(weights: Path, classes: ClassDescription | None, precision: str = "float32") -> StoredModel:
    torch.manual_seed(0)
    network = DynamicClusteringNetwork(dim=192, num_prototypes=3, num_stages=2, whitened_dims=16)
    assert network.whitening is not None
    network.whitening.fit(torch.randn(300, 192))
    description = ModelDescription(
        network={"dim": 192, "num_prototypes": 3, "num_stages": 2, "whitened_dims": 16},
        backbone=BackboneDescription(
            name=TINY_VIT,
            weights=str(weights),
            input_size=64,
            token_layer=-1,
            attention_block=-1,
            precision=precision,
        ),
        regions=RegionRules(attention_reduction="mean", region_score="mean", foreground_split="average"),
        embedding=EmbeddingDescription(layer=-2, size=32),
        classes=classes,
    )
    centers = np.random.default_rng(0).normal(size=(2, 192)).astype(np.float32)
    return StoredModel(network.eval(), description, None if classes is None else centers)


@pytest.fixture(scope="module")
def model(tiny_weights: Path) -> Model:
    return Model(stored(tiny_weights, CLASSES), device="cpu")


@pytest.fixture
def photograph() -> np.ndarray:
    return draw_scene(3)[0]


def test_file_image_array_and_batch_are_the_same_photograph(
    model: Model, photograph: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(photograph).save(tmp_path / "photo.png")
    expected = model.segment(photograph)
    assert expected.labels.shape == photograph.shape[:2]
    one = [
        model.segment(tmp_path / "photo.png"),
        model.segment(str(tmp_path / "photo.png")),
        model.segment(Image.open(tmp_path / "photo.png")),
    ]
    batches = [
        model.segment([tmp_path / "photo.png", photograph]),
        model.segment((photograph,)),
        model.segment(np.stack([photograph] * 3)),
    ]
    assert [len(batch) for batch in batches] == [2, 1, 3]
    for found in [*one, *(result for batch in batches for result in batch)]:
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_array_equal(found.photograph, photograph)
    assert model.segment([]) == []


def test_an_image_is_turned_as_its_exif_data_say(model: Model, photograph: np.ndarray) -> None:
    buffer = io.BytesIO()
    image = Image.fromarray(photograph)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(buffer, "PNG", exif=exif)
    found = model.segment(Image.open(buffer))
    np.testing.assert_array_equal(found.photograph, np.rot90(photograph, 3))


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)],
    ids=["float", "gray", "empty", "alpha"],
)  # fmt: skip
def test_other_arrays_are_refused(model: Model, array: np.ndarray) -> None:
    with pytest.raises(
        InvalidPhotographError, match=r"is no photograph; give uint8 RGB of the shape \[H, W, 3\]"
    ):
        model.segment(array)


def test_regions_are_those_of_the_label_map(model: Model, photograph: np.ndarray) -> None:
    result = model.segment(photograph)
    assert result.assignment.shape == (16, 3)
    assert [region.label for region in result.regions] == np.unique(result.labels).tolist()
    for region in result.regions:
        inside = np.argwhere(result.labels == region.label)
        assert region.area == len(inside) == region.mask.sum()
        assert region.box == (*inside.min(axis=0), *(inside.max(axis=0) + 1))
    assert any(region.foreground for region in result.regions)
    assert max(result.regions, key=lambda region: region.score).foreground


def test_embeddings_are_those_of_the_masked_crops(model: Model, photograph: np.ndarray) -> None:
    result = model.segment(photograph)
    assert not result.embeddings
    crops = crop_regions(photograph, result.labels, result.box, 32)
    expected = model.backbone.embed(masked_inputs(model.backbone, list(crops.values())), -2).numpy()
    for region, vector in zip(result.regions, expected, strict=True):
        np.testing.assert_allclose(region.embedding, vector, atol=1e-5)
    if len(result.regions) < 3:
        with pytest.raises(ValueError, match="does not occur in this photograph"):
            result.embedding(next(label for label in range(3) if not result.area[label]))


def test_joined_and_whitened_embeddings_are_those_of_their_parts(
    model: Model, photograph: np.ndarray, tiny_weights: Path
) -> None:
    description = model.stored.description.model_copy(
        update={
            "classes": None,
            "embedding": EmbeddingDescription(
                layer=-2, size=32, source=("tokens", "crop-context", "crop"), token_layer=-3
            ),
        }
    )
    whitening = TokenWhitening(3 * 192, 7)
    whitening.fit(torch.randn(50, 3 * 192, generator=torch.Generator().manual_seed(0)))
    result = Model(StoredModel(model.stored.network, description, None, whitening), device="cpu").segment(
        photograph
    )

    inputs = model.backbone.preprocess(model.squash(photograph)[None])
    tokens = model.backbone.features(inputs, -3, -3).tokens[0].numpy()
    context = crop_regions(photograph, result.labels, result.box, 32, CROP_VIEWS["crop-context"])
    masked = crop_regions(photograph, result.labels, result.box, 32)
    for region in result.regions:
        parts = [
            mean_tokens(tokens, result.labels, 3)[region.label],
            model.backbone.embed(masked_inputs(model.backbone, [context[region.label]]), -2).numpy()[0],
            model.backbone.embed(masked_inputs(model.backbone, [masked[region.label]]), -2).numpy()[0],
        ]
        joined = np.concatenate([part / np.linalg.norm(part) for part in parts])
        expected = whitening(torch.from_numpy(joined)).numpy()
        assert region.embedding.shape == (7,)
        np.testing.assert_allclose(region.embedding, expected, atol=5e-3)  # tokens are stored as float16


def test_foreground_regions_have_a_class_and_others_are_background(
    model: Model, photograph: np.ndarray
) -> None:
    result = model.segment(photograph)
    centers = model.stored.class_centers
    assert centers is not None
    assert result.semantic is not None
    for region in result.regions:
        assert (result.semantic[region.mask] == region.class_index).all()
        if not region.foreground:
            assert (region.class_index, region.class_name, region.confidence) == (0, "background", None)
            continue
        unit = region.embedding / np.linalg.norm(region.embedding)
        assert region.class_index == np.linalg.norm(unit - centers, axis=1).argmin() + 1
        assert region.class_name == ("cat", "tree")[region.class_index - 1]
        assert region.confidence is not None
        assert 0 <= region.confidence <= 1
    # Nothing was embedded that has no class of its own.
    assert set(result.embeddings) == {region.label for region in result.regions if region.foreground}


def test_a_head_gives_the_classes_of_pixels_from_the_only_forward_pass(
    tiny_weights: Path, photograph: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stored(tiny_weights, CLASSES)
    described = HeadDescription(layers=(-3, -1), depth=2, matched=(0, 2, 1))
    torch.manual_seed(3)
    head = ClassHead(192, described).eval()
    model = Model(
        replace(plain, description=plain.description.model_copy(update={"head": described}), head=head),
        device="cpu",
    )
    passes: list[int] = []
    forward = model.backbone.model.patch_embed.forward

    def counted(photographs: torch.Tensor) -> torch.Tensor:
        passes.append(len(photographs))
        embedded: torch.Tensor = forward(photographs)
        return embedded

    monkeypatch.setattr(model.backbone.model.patch_embed, "forward", counted)
    result = model.segment(photograph)
    semantic = result.semantic
    assert semantic is not None
    classes = [(region.class_index, region.class_name, region.confidence) for region in result.regions]
    assert passes == [1]  # one photograph, and no crop
    assert not result.embeddings
    # The same from the backbone and the head alone.
    inputs = model.backbone.preprocess(model.squash(photograph)[None])
    layers = [model.backbone.features(inputs, layer, -1).tokens.half().float() for layer in (-3, -1)]
    probabilities = head(layers).detach().softmax(dim=-1)[0].half().numpy()
    np.testing.assert_allclose(result.clusters, probabilities, atol=2e-3)
    clusters = resize_label_map(fine_label_map(result.clusters, photograph), *photograph.shape[:2])
    np.testing.assert_array_equal(semantic, np.array([0, 2, 1])[clusters])
    for region, (index, name, confidence) in zip(result.regions, classes, strict=True):
        counts = np.bincount(semantic[region.mask], minlength=3)
        assert index is not None
        assert counts[index] == counts.max()
        assert name == ("background", "cat", "tree")[index]
        assert confidence == pytest.approx(counts.max() / region.area)
        assert region.distance is None


def test_a_model_without_classes_says_so(tiny_weights: Path, photograph: np.ndarray) -> None:
    result = Model(stored(tiny_weights, None), device="cpu").segment(photograph)
    assert result.semantic is None
    assert result.class_names == ()
    assert {region.class_name for region in result.regions} == {None}
    with pytest.raises(ValueError, match="this model knows no classes"):
        result.overlay("semantic")


@pytest.mark.parametrize("what", ["regions", "semantic"])
def test_coco_has_the_pixels_of_every_label(model: Model, photograph: np.ndarray, what: str) -> None:
    result = model.segment(photograph)
    document = json.loads(json.dumps(result.to_coco(what, "photo.jpg")))
    assert document["images"] == [{"id": 1, "file_name": "photo.jpg", "height": 48, "width": 64}]
    masks = [run_lengths.decode(one["segmentation"]) for one in document["annotations"]]
    if what == "regions":
        expected = [region.mask for region in result.regions]
    else:
        assert result.semantic is not None
        expected = [result.semantic == one["category_id"] for one in document["annotations"]]
    np.testing.assert_array_equal(masks, expected)


def test_an_overlay_has_the_size_of_the_photograph(model: Model, photograph: np.ndarray) -> None:
    result = model.segment(photograph)
    assert result.overlay().size == result.overlay("semantic").size == (64, 48)


def test_a_folder_of_the_hub_comes_back(
    model: Model, photograph: np.ndarray, tmp_path: Path, tiny_weights: Path
) -> None:
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    again = Model.from_pretrained(tmp_path, weights=tiny_weights, device="cpu")
    expected, found = model.segment(photograph), again.segment(photograph)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.semantic, expected.semantic)
    again.save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()
    assert str(tiny_weights.parent) not in (tmp_path / "config.json").read_text()


def test_the_model_card_is_one_for_the_hub(model: Model, tmp_path: Path) -> None:
    named = CLASSES.named.model_copy(update={"names": ("background", "```", "<b>tree</b>")})
    description = model.stored.description.model_copy(
        update={"classes": CLASSES.model_copy(update={"named": named})}
    )
    changed = StoredModel(model.stored.network, description, model.stored.class_centers)
    Model(changed, device="cpu").save_pretrained(tmp_path)
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == "dynamic-clustering-network"
    assert card.data.pipeline_tag == "image-segmentation"
    _, _, after = card.text.partition("```json\n")
    names, _, _ = after.partition("\n```\n")
    assert json.loads(names) == ["background", "```", "<b>tree</b>"]


def test_the_card_of_a_model_with_a_head_counts_its_clusters(model: Model) -> None:
    """The centers are others: a merged cluster has several."""
    merged = CLASSES.model_copy(update={"matched": (0, 1, 2, 1, 2)})
    described = HeadDescription(layers=(-1,), depth=1, matched=(0, 2, 1))
    description = model.stored.description.model_copy(update={"classes": merged, "head": described})
    assert card_values(description)["head_clusters"] == 2


def test_the_card_names_no_clusterer_and_counts_clusters_and_centers(model: Model, tmp_path: Path) -> None:
    """The model does not know which clusterer made its centers, and a merged cluster has several."""
    merged = CLASSES.model_copy(update={"matched": (0, 1, 2, 1, 2)})
    centers = np.tile(np.asarray(model.stored.class_centers), (2, 1))
    for head in (None, HeadDescription(layers=(-1,), depth=1, matched=(0, 2, 1))):
        description = model.stored.description.model_copy(update={"classes": merged, "head": head})
        kept = Model(StoredModel(model.stored.network, description, centers), device="cpu")
        text = str(kept.generate_model_card(kept._hub_mixin_info.model_card_data))
        assert "k-means" not in text
        expected = "one of 2 clusters or the background" if head else "the nearest of 4 cluster centers"
        assert expected in " ".join(text.split())


def test_weights_that_stayed_on_another_machine_are_asked_for(model: Model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    alone = Model.from_pretrained(tmp_path, device="cpu")
    with pytest.raises(
        WeightsUnavailableError, match=r"with the file tiny.safetensors as weights of"
    ) as caught:
        alone.segment(np.zeros((8, 8, 3), np.uint8))
    assert caught.value.parameter == "weights"


def test_the_model_computes_in_the_precision_of_its_training(
    tiny_weights: Path, photograph: np.ndarray
) -> None:
    half = Model(stored(tiny_weights, None, "bfloat16"), device="cpu")
    found = half.segment(photograph)
    assert (
        half.backbone.features(half.backbone.preprocess(half.squash(photograph)[None])).tokens.dtype
        == torch.float32
    )
    assert next(half.backbone.model.parameters()).dtype == torch.bfloat16
    assert half.stored.network.prototypes.dtype == torch.float32
    exact = Model(stored(tiny_weights, None), device="cpu").segment(photograph)
    np.testing.assert_allclose(found.assignment, exact.assignment, atol=0.2)


def test_a_loaded_backbone_is_not_loaded_again(tiny_weights: Path, photograph: np.ndarray) -> None:
    vit = timm.create_model(TINY_VIT, num_classes=0, dynamic_img_size=True, global_pool="token")
    backbone = Backbone(vit)  # type: ignore[arg-type]
    model = Model(stored(Path("gone.pth"), None), device="cpu", backbone=backbone)
    assert model.segment(photograph).labels.shape == (48, 64)
