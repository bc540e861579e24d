"""The tables of a recipe: data, clock, network, integers, chip, faults, one row to learn, how answers are judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chiploop.chip.dvs import DvsLayer, NoiseFilter
from chiploop.chip.faults import make_faults
from chiploop.chip.open import REMOTE, simple_names
from chiploop.errors import ChiploopError, RecipeError
from chiploop.events.types import SensorShape

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]


UNTRAINED = {
    "convert": "No training: the network of warm_start, normalised by data (max-activation balancing).",
    "correct": "No training: the network of warm_start, each layer scaled until it fires on the chip as in the model.",
}
"""Rows that rescale a network and train nothing, with a line each. They are not in the registry of methods."""


class Table(BaseModel):
    """A table of a recipe: frozen; an unknown key is an error, and so is a number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(Table):
    """A data set by its registered name, one of its splits, and how many samples of it (all by default)."""

    dataset: str
    split: str | None = None
    n: Count | None = None


class Data(Table):
    """What is trained on and tested on.

    Without `tested_on`, the recordings of `dataset` are divided into training, validation and test parts, all disjoint
    and stratified by class. With it, all of that data set (or `n` of it) is the test part, and what lies behind its
    recordings never enters training or validation. `pretrain` is a further data set for the methods that name it; what
    lies behind validation and test recordings is left out of it too.
    """

    dataset: str
    split: str | None = None
    n: Count | None = None
    validation: Share = 0.1
    test: Share = 0.2
    tested_on: Source | None = None
    pretrain: Source | None = None

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Data:
        held = self.validation + (self.test if self.tested_on is None else 0.0)
        if held >= 1:
            raise ValueError(f"data.validation and data.test take {held:g} of the recordings; leave some to train on")
        return self


class Dvs(Table):
    """What the chip's sensor layer does to every recording before anything hears it, in the order of the keys.

    `hot_pixels` are (y, x) of the raw sensor; `noise_window_us` lets an event pass only so long after one of a
    neighbouring pixel; `pool` p joins windows of 2^p pixels a side; `cut` is (top, left, bottom, right), inclusive,
    after pooling.
    """

    hot_pixels: tuple[tuple[int, int], ...] = ()
    noise_window_us: Count | None = None
    merge: bool = False
    pool: Annotated[int, Field(ge=0)] = 0
    cut: tuple[int, int, int, int] | None = None
    mirror_x: bool = False
    mirror_y: bool = False
    mirror_diagonal: bool = False

    def layer(self, shape: SensorShape) -> DvsLayer | None:
        """Return the sensor layer for a sensor of this shape; None where the table asks for nothing."""
        if self == Dvs():
            return None
        noise = None if self.noise_window_us is None else NoiseFilter(window_us=self.noise_window_us)
        return DvsLayer(in_shape=shape, noise=noise, **self.model_dump(exclude={"noise_window_us"}))


class Encode(Table):
    """The clock of the synchronous models: equal windows over the recording."""

    n_windows: Count = 10


class Network(Table):
    """Layers in the field's notation, one neuron for all of them, and the surrogate gradient.

    `v_min`: lower threshold in units of v_th = 1 (absent: none). `activity`: mean spikes of the responding neurons a
    sample that weights are balanced to before training. `leak`: what each edge of the slow clock of period `clock_us`
    takes from every potential, in units of v_th (a clocked bias of -leak, the chip's linear leak); with `leak_trained`
    it is where training begins, one bias a channel.
    """

    layers: str
    neuron: Literal["if", "lif"] = "if"
    v_min: Annotated[float, Field(le=0.0)] | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    spikes_per_step: Literal["one", "all"] = "all"
    tau_us: Annotated[float, Field(gt=0.0, allow_inf_nan=True)] | None = None
    surrogate: str = "exponential"
    sharpness: Positive = 1.0
    activity: Positive = 2.0
    leak: Annotated[float, Field(ge=0.0)] | None = None
    leak_trained: bool = False
    clock_us: Count | None = None

    @model_validator(mode="after")
    def _leak_has_a_clock(self) -> Network:
        if (self.leak is None) != (self.clock_us is None):
            has, lacks = ("leak", "clock_us") if self.clock_us is None else ("clock_us", "leak")
            raise ValueError(f"network.{has} without network.{lacks}: a clocked leak needs both")
        if self.leak_trained and self.leak is None:
            raise ValueError(
                "network.leak_trained without network.leak: say where training begins, such as leak = 0.01"
            )
        return self


class Quantize(Table):
    """Weights to integers."""

    bits: Annotated[int, Field(ge=2, le=8)] = 8
    search: Literal["mse", "max", "percentile"] = "mse"
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.9


class Failures(Table):
    """What is done when the device fails: `retries` of a call, each after a pause of `wait_s`, doubled each time.

    A lost device is opened anew (`reopen`). If all that does not help, training stops, or the batch is skipped: at most
    a share `max_skipped` of an epoch's. `timeout_s` is the deadline of each call to a remote device.
    """

    retries: Annotated[int, Field(ge=0)] = 2
    reopen: bool = True
    then: Literal["stop", "skip"] = "stop"
    wait_s: Annotated[float, Field(ge=0)] = 1.0
    max_skipped: Share = 0.1
    timeout_s: Positive = 60.0


class Chip(Table):
    """The device in the loop and under test, by name, or remote:host:port. `threads` 0 means every core.

    A list of devices is for training in several processes: each opens the one at its place, the first one tests.
    """

    profile: str = "speck2f"
    device: str | Annotated[tuple[str, ...], Field(min_length=1)] = "virtual"
    threads: Annotated[int, Field(ge=0)] = 0
    spikes_per_update: Literal["one", "all"] | None = None
    failures: Failures = Failures()

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices that are named."""
        return (self.device,) if isinstance(self.device, str) else self.device

    def device_of(self, rank: int, size: int) -> str:
        """Return the device of one of `size` processes; raises RecipeError where there is none for it alone."""
        if size == 1 or (len(self.devices) == 1 and REMOTE not in simple_names(self.devices[0])):
            return self.devices[0]  # of simulators, each process has its own
        if len(self.devices) < size:
            raise RecipeError(
                f"chip.device names {len(self.devices)} device(s), but {size} processes train, each on a device of its "
                'own: give a list, such as chip.device = ["remote:lab:7070", "remote:lab:7071"]'
            )
        return self.devices[rank]

    @property
    def what_counts(self) -> str | list[str]:
        """What of `device` decides results: of a list, which kinds are in it, not how many there are."""
        return self.device if isinstance(self.device, str) else sorted({n.partition(":")[0] for n in self.device})


class Faults(Table):
    """The faulty chip that every row is tested on besides, and that rows with `faults = true` are trained through.

    `kinds`: faults by name (chiploop ls faults) with their options; `seed` is the individual chip. `levels` are the
    multiples of their strengths that networks are tested at; 1 is the chip that was trained through.
    """

    kinds: dict[str, dict[str, float]]
    seed: Annotated[int, Field(ge=0)] = 0
    levels: tuple[Annotated[float, Field(ge=0)], ...] = (0.0, 0.5, 1.0, 2.0)

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Faults:
        try:
            make_faults(self.kinds)
        except ChiploopError as error:
            raise ValueError(f"faults.kinds: {error}") from error
        return self


class Augmentation(Table):
    """Random changes of training recordings; zero is none."""

    shift_px: Annotated[float, Field(ge=0)] = 0.0
    rotate_deg: Annotated[float, Field(ge=0)] = 0.0
    scale: Share = 0.0
    shear: Share = 0.0
    drop: Share = 0.0
    crop: Share = 0.0


class Learn(Table):
    """One row of the results: a method and how it is trained.

    `method` is a registered method, or one that rescales the layers of `warm_start` and trains nothing: "convert"
    (normalisation by data) or "correct" (each layer's counts on the chip brought to the model's).
    `forward`: who runs forward in the loop, the model beside the chip, or the chip alone (with plan "all+v").
    `warm_start` names an earlier row, or a network file by path. `data`: "train" or "pretrain". `faults`: the chip in
    the loop, and the one that selects the epoch, is the faulty one.
    """

    method: str
    warm_start: str | None = None
    data: Literal["train", "pretrain"] = "train"
    report: bool = True
    epochs: Annotated[int, Field(ge=0)] = 10
    batch_size: Count = 32
    lr: Positive = 1e-3
    final_lr: Share = 0.02
    warmup: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Positive = 1.0
    patience: Count | None = None
    select: bool = True
    quantized: bool = False
    whole_counts: bool = False
    plan: Literal["output", "output+v", "all", "all+v"] = "all+v"
    forward: Literal["model", "chip"] = "model"
    loss: Literal["total", "windows", "cumulative"] = "total"
    temperature: Positive = 4.0
    joint: Annotated[float, Field(ge=0)] = 0.0
    activity: Annotated[float, Field(ge=0)] = 0.0
    max_rate: Positive = 5.0
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.9
    gain: Positive = 1.0
    augment: Augmentation | None = None
    faults: bool = False

    @property
    def is_looped(self) -> bool:
        """Whether the chip is in the row's loop; importing the methods to ask them would import torch."""
        return self.method.startswith("cil")


class Measure(Table):
    """How answers are judged. `ties`: "wrong", or broken by the membrane potential (and the report says so)."""

    ties: Literal["wrong", "potential"] = "wrong"
    accelerator_bits: Literal[8, 16] = 16
