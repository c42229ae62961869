"""The stage ``embed`` against timm's forward pass alone, in crops per second.

    python -m benchmarks.embed [--images 8] [--pairs 3] [--json FILE]

The paper's shape: ViT-S/8, regions of photographs of 500 x 375, each resized to 224 pixels. The stage begins
with JPEG files and the checkpoint of ``segment`` and ends with a complete checkpoint. The forward pass begins
with the crops that the stage embeds, normalized, in memory, in batches of the same size as those of the
stage, and its result is dropped.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.cached_tokens import fill_extract
from benchmarks.forward_pass import against_forward_pass
from benchmarks.photographs import make_settings, run
from benchmarks.row import Row
from benchmarks.stage_command import run_command
from dcn.crops import Crop, crop_regions, masked_inputs
from dcn.weights.presets import Precision
from flows.inputs.datasets import open_dataset, read_photograph
from flows.inputs.image_index import open_index
from flows.inputs.models import load_backbone
from flows.inputs.parallel import batched
from flows.inputs.region_maps import RegionMaps
from flows.stages.crop_embeddings import CROPS_PER_PHOTOGRAPH
from flows.stages.embed import embedded_boxes


def measure(folder: Path, images: int, pairs: int, precision: Precision) -> list[Row]:
    """Regions in, embeddings out."""
    settings = make_settings(folder, images, precision, segment={"segmenter": {"name": "kmeans"}})
    run(settings, "index")
    fill_extract(settings)
    job = run(settings, "segment")
    backbone, size = load_backbone(job.settings), job.settings.embed.size
    assert size is not None
    dataset, maps = open_dataset(settings.dataset), RegionMaps.read(job, 0, images)
    boxes = embedded_boxes(job, 0, images)
    crops: list[Crop] = []
    for image in open_index(job).images():
        cut = crop_regions(read_photograph(dataset, image), maps.of(image), boxes[image.row], size)
        crops.extend(cut.values())
    batch_size = CROPS_PER_PHOTOGRAPH * settings.backbone.batch_size
    batches = [masked_inputs(backbone, batch) for batch in batched(crops, batch_size)]
    return [against_forward_pass(settings, "embed", batches, "crops", 2.0, pairs)]


if __name__ == "__main__":
    run_command(__doc__, measure, images=8, pairs=3)
