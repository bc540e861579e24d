"""Data sets, one a file; each registers a factory."""

from chiploop.datasets.base import DATASETS, Dataset, ImageDataset, Sample, batches, samples
from chiploop.datasets.locate import cache_directory, resolve_root
from chiploop.datasets.split import split_indices

__all__ = [
    "DATASETS",
    "Dataset",
    "ImageDataset",
    "Sample",
    "batches",
    "cache_directory",
    "resolve_root",
    "samples",
    "split_indices",
]
