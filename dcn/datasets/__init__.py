"""Data sets: photographs with ids, splits, ground truth and class names. :data:`DATASETS` lists all."""

from dcn.datasets.ade20k import ADE20KDataset, ADE20KOptions
from dcn.datasets.bsds500 import BSDS500Dataset, BSDS500Options
from dcn.datasets.camvid import CamVidDataset, CamVidOptions
from dcn.datasets.cityscapes27 import Cityscapes27Dataset, Cityscapes27Options
from dcn.datasets.coco_stuff27 import CocoStuff27Dataset, CocoStuff27Options
from dcn.datasets.dataset import Dataset, DatasetOptions, Item
from dcn.datasets.folder import FolderDataset, FolderOptions
from dcn.datasets.potsdam3 import Potsdam3Dataset, Potsdam3Options
from dcn.datasets.sample import SampleDataset, SampleOptions
from dcn.datasets.voc2012 import VOC2012Dataset, VOC2012Options

DATASETS: tuple[type[DatasetOptions], ...] = (
    SampleOptions,
    FolderOptions,
    VOC2012Options,
    BSDS500Options,
    CocoStuff27Options,
    Cityscapes27Options,
    ADE20KOptions,
    CamVidOptions,
    Potsdam3Options,
)

__all__ = [
    "DATASETS",
    "ADE20KDataset",
    "ADE20KOptions",
    "BSDS500Dataset",
    "BSDS500Options",
    "CamVidDataset",
    "CamVidOptions",
    "Cityscapes27Dataset",
    "Cityscapes27Options",
    "CocoStuff27Dataset",
    "CocoStuff27Options",
    "Dataset",
    "DatasetOptions",
    "FolderDataset",
    "FolderOptions",
    "Item",
    "Potsdam3Dataset",
    "Potsdam3Options",
    "SampleDataset",
    "SampleOptions",
    "VOC2012Dataset",
    "VOC2012Options",
]
