"""The name of a training, by which a checkpoint is known to belong to it."""

from __future__ import annotations

import math

from chiploop.chip.profile import read_profile
from chiploop.digest import digest
from chiploop.learn.batch import Samples
from chiploop.network.network import Network
from chiploop.recipes.recipe import Recipe

TRAINING_VERSION = 1
"""Raised when a change of the code changes what training gives, so that old checkpoints are not taken up."""


def training_identity(
    recipe: Recipe, name: str, network: Network, seed: int, train: Samples, validation: Samples
) -> str:
    """Name what is trained and on what it is selected: the same name gives the same bits."""
    parts = recipe.model_dump(mode="json", include={"network", "encode", "quantize", "chip", "augment", "threads"})
    del parts["chip"]["failures"]
    parts["chip"]["device"] = recipe.chip.what_counts
    parts["chip"]["limits"] = read_profile(recipe.chip.profile).digest  # a file by that name may have changed
    row = recipe.learn[name].model_dump(mode="json")
    if recipe.learn[name].faults and recipe.faults is not None:
        row["through"] = recipe.faults.model_dump(mode="json", exclude={"levels"})
    start = network.to_spec().digest
    data = [_data_identity(part) for part in (train, validation)]
    return digest([TRAINING_VERSION, parts, row, recipe.measure.ties, start, seed, data])


def _data_identity(samples: Samples) -> list[str | int]:
    """Name a part by its recordings; a simulated one by its camera, too, a packed one by its files' checksums."""
    dataset = samples.dataset
    keys = digest([str(dataset.keys[i]) for i in samples.indices])
    raw = getattr(dataset, "recordings", dataset)
    made = (getattr(raw, "camera", None), getattr(raw, "content", None), getattr(dataset, "dvs", None))
    how = [digest(part) for part in made if part is not None]
    return [dataset.name, keys, math.prod(dataset.shape), dataset.duration_us, "".join(how)]
