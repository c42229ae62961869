"""The Dynamic Clustering Network: backbone, network, loss, training, regions and evaluation.

The names below are the public interface of the package. Each is imported when it is first used, so that
``import dcn`` is quick and changes nothing in the process.

``load`` and ``open_run`` also open what the pipeline trained, so they come from the package ``flows``.

Example::

    import dcn

    model = dcn.load("mine.yaml")
    result = model.segment("photo.jpg")

"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcn.backbone import Backbone, Features
    from dcn.crops import crop_regions, masked_inputs
    from dcn.datasets import DATASETS, Dataset, DatasetOptions, Item
    from dcn.errors import DCNError
    from dcn.foreground import foreground_regions, region_scores
    from dcn.model import Model
    from dcn.model_description import ModelDescription
    from dcn.model_file import StoredModel, load_model, model_bytes
    from dcn.modularity import ModularityLoss, cosine_assignment
    from dcn.network import DynamicClusteringNetwork, image_centers
    from dcn.prototypes import start_from_kmeans
    from dcn.refinement import fine_label_map
    from dcn.regions import label_map, region_areas, region_boxes, resize_label_map
    from dcn.segmentation import Region, Segmentation
    from dcn.segmenters import SEGMENTERS, Segmenter
    from dcn.training import StepRecord, Trainer
    from dcn.untrained import untrained_model
    from dcn.weights.presets import PRESETS, Preset, find_preset
    from flows.library import load, open_run

_MODULES = {
    "dcn.backbone": ("Backbone", "Features"),
    "dcn.crops": ("crop_regions", "masked_inputs"),
    "dcn.datasets": ("DATASETS", "Dataset", "DatasetOptions", "Item"),
    "dcn.errors": ("DCNError",),
    "dcn.foreground": ("foreground_regions", "region_scores"),
    "dcn.model": ("Model",),
    "dcn.model_description": ("ModelDescription",),
    "dcn.model_file": ("StoredModel", "load_model", "model_bytes"),
    "dcn.modularity": ("ModularityLoss", "cosine_assignment"),
    "dcn.network": ("DynamicClusteringNetwork", "image_centers"),
    "dcn.prototypes": ("start_from_kmeans",),
    "dcn.refinement": ("fine_label_map",),
    "dcn.regions": ("label_map", "region_areas", "region_boxes", "resize_label_map"),
    "dcn.segmentation": ("Region", "Segmentation"),
    "dcn.segmenters": ("SEGMENTERS", "Segmenter"),
    "dcn.training": ("StepRecord", "Trainer"),
    "dcn.untrained": ("untrained_model",),
    "dcn.weights.presets": ("PRESETS", "Preset", "find_preset"),
    # The package of the pipeline opens what it left in a workspace. Nothing else here imports it.
    "flows.library": ("load", "open_run"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DATASETS",
    "PRESETS",
    "SEGMENTERS",
    "Backbone",
    "DCNError",
    "Dataset",
    "DatasetOptions",
    "DynamicClusteringNetwork",
    "Features",
    "Item",
    "Model",
    "ModelDescription",
    "ModularityLoss",
    "Preset",
    "Region",
    "Segmentation",
    "Segmenter",
    "StepRecord",
    "StoredModel",
    "Trainer",
    "cosine_assignment",
    "crop_regions",
    "find_preset",
    "fine_label_map",
    "foreground_regions",
    "image_centers",
    "label_map",
    "load",
    "load_model",
    "masked_inputs",
    "model_bytes",
    "open_run",
    "region_areas",
    "region_boxes",
    "region_scores",
    "resize_label_map",
    "start_from_kmeans",
    "untrained_model",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'dcn' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
