"""Data sets: ids, photographs, masks, class names."""

from dcn.datasets.bsds500 import BSDS500Dataset
from dcn.datasets.dataset import Dataset, Item
from dcn.datasets.folder import FolderDataset
from dcn.datasets.sample import SampleDataset
from dcn.datasets.voc2012 import VOC2012Dataset

__all__ = ["BSDS500Dataset", "Dataset", "FolderDataset", "Item", "SampleDataset", "VOC2012Dataset"]
