"""Data sets: photographs with ids, splits, ground truth and class names. :data:`DATASETS` lists all."""

from dcn.datasets.bsds500 import BSDS500Dataset, BSDS500Options
from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.datasets.folder import FolderDataset, FolderOptions
from dcn.datasets.sample import SampleDataset, SampleOptions
from dcn.datasets.voc2012 import VOC2012Dataset, VOC2012Options

DATASETS: tuple[type[DatasetOptions], ...] = (
    SampleOptions,
    FolderOptions,
    VOC2012Options,
    BSDS500Options,
)

__all__ = [
    "DATASETS",
    "BSDS500Dataset",
    "BSDS500Options",
    "Dataset",
    "DatasetOptions",
    "FolderDataset",
    "FolderOptions",
    "Item",
    "SampleDataset",
    "SampleOptions",
    "VOC2012Dataset",
    "VOC2012Options",
]
