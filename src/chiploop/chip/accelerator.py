"""The synchronous accelerator: an integer CNN on frames, the chip's clocked counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chiploop.chip.device import COUNTER_NAMES, DEVICES, BatchTrace, Counters, DeviceInfo, Monitor, Trace
from chiploop.chip.integer_cnn import (
    INT32_MAX,
    INT32_MIN,
    IntegerLayer,
    accumulate,
    choose_fractions,
    integer_layers,
    requantize,
    sum_pool,
)
from chiploop.chip.program import Program
from chiploop.errors import DeviceError
from chiploop.events.types import Events, SensorShape
from chiploop.spec.graph import INPUT

CHUNK = 32
"""Samples computed at once; bounds the memory that the unfolded windows take."""
ACTIVATION_BITS = (8, 16)


@dataclass(frozen=True, kw_only=True)
class _Forward:
    logits: NDArray[np.int64]  # [B, classes]
    counters: dict[str, NDArray[np.int64]]  # per layer, [B, len(COUNTER_NAMES)]
    clipped_inputs: NDArray[np.int64]  # [B], counts past the largest activation


@DEVICES.register("accelerator")
class Accelerator:
    """Integer CNN: int8 weights, int8 or int16 activations, int32 accumulators, ReLU; one frame a recording.

        acc = W a_in        a_out = clamp(round(P(relu(acc)) 2^(f_out - f_in) / theta), 0, a_max)

    The frame is the count of events of each pixel over the whole recording; P sums over the pooling window, in 32
    bits as well. The last layer's accumulators are the logits: `BatchTrace.output_counts` holds them (they may be
    negative; `output_potentials` is zero, there being no state), `Trace.metrics` has one `logit_<class>` each.
    Floors, reset and the one-spike rule have no meaning here and are ignored.

    `fractions` fixes the fraction bits f of activations by layer name (and "input"), 0 where absent; `calibrate`
    chooses them from recordings. Counters: `events_in` non-zero inputs, `synops` multiply-accumulates (dense),
    `saturated_high` and `_low` values clamped to the largest activation or to 32 bits; `lost` counts clipped inputs.

    `load` refuses programs whose sums could leave 32 bits for some input, or, with `on_overflow="saturate"`, clamps
    and counts. Monitors are refused: there are no windows, potentials or spikes to see.
    """

    def __init__(
        self,
        *,
        activation_bits: int = 8,
        fractions: Mapping[str, int] | None = None,
        on_overflow: Literal["refuse", "saturate"] = "refuse",
    ) -> None:
        if activation_bits not in ACTIVATION_BITS:
            raise DeviceError(f"activation_bits = {activation_bits} must be one of {ACTIVATION_BITS}")
        if on_overflow not in ("refuse", "saturate"):
            raise DeviceError(f"on_overflow = {on_overflow!r} must be 'refuse' or 'saturate'")
        self._a_max = (1 << (activation_bits - 1)) - 1
        self._fractions = dict(fractions or {})
        self._on_overflow = on_overflow
        self._program: Program | None = None
        self._layers: tuple[IntegerLayer, ...] = ()
        self._frame: NDArray[np.int64] | None = None  # counts of `run` since the last reset, [C, H, W]

    @property
    def info(self) -> DeviceInfo:
        """What the device is: it shows its outputs and nothing else."""
        return DeviceInfo(name="accelerator", kind="accelerator", observes=frozenset())

    @property
    def fractions(self) -> dict[str, int]:
        """Fraction bits in use, by layer name and "input"."""
        return dict(self._fractions)

    def load(self, program: Program) -> None:
        """Take a program; refuses what it cannot run or what could overflow."""
        layers = integer_layers(program, a_max=self._a_max, fractions=self._fractions)
        for layer in layers:
            if layer.may_overflow and self._on_overflow == "refuse":
                raise DeviceError(
                    f"layer {layer.name!r}: sums may reach {layer.lowest}..{layer.highest_pooled}, past 32 bits; "
                    "use 8-bit activations, smaller weights, or on_overflow='saturate'"
                )
        self._program, self._layers = program, layers
        self.reset()

    def calibrate(self, batch: Sequence[Events]) -> dict[str, int]:
        """Choose the fraction bits from recordings, load them, and return them."""
        program = self._loaded()
        frames = np.concatenate([_frames(chunk, program.input_shape) for chunk in _chunks(batch)])
        self._fractions = choose_fractions(program, frames, a_max=self._a_max)
        self.load(program)
        return self.fractions

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Add a stream to the frame and compute the network on the frame so far."""
        program = self._loaded()
        _require_no_monitor(monitor)
        fresh = _frames([events], program.input_shape)[0]
        self._frame = fresh if self._frame is None else self._frame + fresh
        result = self._forward(self._frame[None])
        last = program.cores[-1]
        empty = Events.empty(last.out_shape, start_us=events.start_us, stop_us=events.stop_us)
        return Trace(
            outputs={last.layer: empty},
            counters={name: _counters(table[0]) for name, table in result.counters.items()},
            span_us=events.duration_us,
            lost=int(result.clipped_inputs[0]),
            metrics={f"logit_{i}": float(value) for i, value in enumerate(result.logits[0])},
        )

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Compute the network on the frame of every stream."""
        program = self._loaded()
        _require_no_monitor(monitor)
        if not batch:
            raise DeviceError("an empty batch; give at least one stream")
        parts = [self._forward(_frames(chunk, program.input_shape)) for chunk in _chunks(batch)]
        logits = np.concatenate([part.logits for part in parts])
        return BatchTrace(
            output_counts=logits,
            output_potentials=np.zeros(logits.shape, np.int16),
            counters={name: np.concatenate([part.counters[name] for part in parts]) for name in parts[0].counters},
            lost=np.concatenate([part.clipped_inputs for part in parts]),
        )

    def reset(self) -> None:
        """Forget the frame."""
        self._loaded()
        self._frame = None

    def close(self) -> None:
        """Forget the program."""
        self._program, self._layers, self._frame = None, (), None

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _loaded(self) -> Program:
        if self._program is None:
            raise DeviceError("no program is loaded; call load(program) first")
        return self._program

    def _forward(self, frames: NDArray[np.int64]) -> _Forward:
        n = len(frames)
        fraction = self._fractions.get(INPUT, 0)
        wide = requantize(frames, shift=fraction, divisor=1, a_max=self._a_max + 1)
        a = np.minimum(wide, self._a_max)
        clipped = (wide > self._a_max).reshape(n, -1).sum(axis=1)
        counters: dict[str, NDArray[np.int64]] = {}
        for layer in self._layers:
            tally = np.zeros((n, len(COUNTER_NAMES)), np.int64)
            counters[layer.name] = tally
            _add(tally, "events_in", a != 0)
            acc = accumulate(layer, a)
            tally[:, COUNTER_NAMES.index("synops")] = acc[0].size * layer.matrix.shape[0]
            acc = _saturate(layer, acc, tally)
            if layer is self._layers[-1]:
                break
            pooled = _saturate(layer, sum_pool(np.maximum(acc, 0), layer.window), tally)
            shift = layer.fraction_out - layer.fraction_in
            # One past the top, so that what is clamped can be told from what just fits.
            wide = requantize(pooled, shift=shift, divisor=layer.threshold, a_max=self._a_max + 1)
            _add(tally, "saturated_high", wide > self._a_max)
            a = np.minimum(wide, self._a_max)
        return _Forward(logits=acc.reshape(n, -1), counters=counters, clipped_inputs=clipped)


def _counters(row: NDArray[np.int64]) -> Counters:
    return Counters(**{name: int(n) for name, n in zip(COUNTER_NAMES, row, strict=True)})


def _saturate(layer: IntegerLayer, sums: NDArray[np.int64], tally: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums in 32 bits, with what was clamped counted; most layers' bounds say that nothing can be."""
    if not layer.may_overflow:
        return sums
    _add(tally, "saturated_high", sums > INT32_MAX)
    _add(tally, "saturated_low", sums < INT32_MIN)
    return np.clip(sums, INT32_MIN, INT32_MAX)


def _add(tally: NDArray[np.int64], counter: str, where: NDArray[np.bool_]) -> None:
    tally[:, COUNTER_NAMES.index(counter)] += where.reshape(len(tally), -1).sum(axis=1)


def _chunks(batch: Sequence[Events]) -> Iterator[Sequence[Events]]:
    for start in range(0, len(batch), CHUNK):
        yield batch[start : start + CHUNK]


def _frames(batch: Sequence[Events], shape: SensorShape) -> NDArray[np.int64]:
    """Return the events of each pixel over the whole recording, int64[B, C, H, W]."""
    frames = np.zeros((len(batch), *shape), np.int64)
    for frame, events in zip(frames, batch, strict=True):
        if events.shape != shape:
            raise DeviceError(f"events of shape {tuple(events.shape)}, the program hears {tuple(shape)}")
        address = np.ravel_multi_index((events.channel, events.y, events.x), shape)
        frame[:] = np.bincount(address, minlength=frame.size).reshape(shape)
    return frames


def _require_no_monitor(monitor: Monitor | None) -> None:
    if monitor is not None and (monitor.counts or monitor.potentials or monitor.spikes):
        raise DeviceError(
            "the accelerator computes frames: it has no windows, potentials or spikes to monitor; "
            "observe its outputs, or monitor a 'virtual' device"
        )
