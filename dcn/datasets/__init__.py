"""Data sets: ids, photographs, masks, class names."""

from dcn.datasets.dataset import Dataset, Item
from dcn.datasets.folder import FolderDataset
from dcn.datasets.sample import SampleDataset
from dcn.datasets.voc2012 import VOC2012Dataset

__all__ = ["Dataset", "FolderDataset", "Item", "SampleDataset", "VOC2012Dataset"]
