"""A data set seen through a chip's sensor layer, so that models train on what the first core hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.dvs import DvsLayer, apply_dvs
from chiploop.datasets.base import Dataset, Sample
from chiploop.errors import DataError
from chiploop.events.types import SensorShape


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """The recordings of a data set, each run through a sensor layer from reset state; labels and keys stay theirs.

    A program that runs these recordings has no sensor layer of its own, or every event would go through it twice.
    Raises DataError when the layer is for a sensor of another shape.

    >>> from chiploop.datasets.shapes import open_shapes
    >>> data = Preprocessed(open_shapes(n=3), DvsLayer(in_shape=SensorShape(2, 8, 8), merge=True, pool=1))
    >>> data.shape, data.sample(0).events.shape == data.shape
    (SensorShape(channels=1, height=4, width=4), True)
    """

    recordings: Dataset
    dvs: DvsLayer

    def __post_init__(self) -> None:
        if self.recordings.shape != self.dvs.in_shape:
            raise DataError(
                f"the sensor layer takes {tuple(self.dvs.in_shape)}, recordings of {self.recordings.name!r} are "
                f"{tuple(self.recordings.shape)} (channels, height, width); give it their shape"
            )

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.recordings.name

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.recordings.n_classes

    @property
    def shape(self) -> SensorShape:
        """Shape of what the sensor layer sends on."""
        return self.dvs.out_shape

    @property
    def duration_us(self) -> int:
        """Of every recording."""
        return self.recordings.duration_us

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels in the order of the recordings."""
        return self.recordings.labels

    @property
    def keys(self) -> Sequence[int | str]:
        """Identities of the recordings."""
        return self.recordings.keys

    def __len__(self) -> int:
        return len(self.recordings)

    def sample(self, index: int) -> Sample:
        """Decode one recording and let the sensor layer have it."""
        raw = self.recordings.sample(index)
        return raw._replace(events=apply_dvs(self.dvs, raw.events)[0])

    def n_dropped(self, index: int) -> int:
        """Return how many events of a recording the sensor layer drops."""
        return apply_dvs(self.dvs, self.recordings.sample(index).events)[1]
