"""Executors: who computes the forward pass that is observed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, Protocol

import torch
from numpy.typing import NDArray

from chiploop.chip.compile import compile as compile_program
from chiploop.chip.compile import with_weights
from chiploop.chip.device import Device, Monitor
from chiploop.chip.plausible import require_plausible
from chiploop.chip.profile import ChipProfile
from chiploop.chip.program import Program
from chiploop.errors import DeviceError
from chiploop.learn.batch import Batch
from chiploop.learn.plan import InjectionPlan
from chiploop.learn.reload import reload_program
from chiploop.learn.resilient import ResilientDevice
from chiploop.network.network import Grid, Network
from chiploop.network.run import Awaited, Observations, run_frame, run_windows
from chiploop.quantize.apply import BIAS_MAX, layer_scale, quantize
from chiploop.quantize.scheme import IntScheme
from chiploop.spec.graph import LayerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One observation: values for injection, and what it cost."""

    observations: Observations
    seconds: float = 0.0
    synops: int = 0


class Executor(Protocol):
    """Computes a batch's forward pass with the network's present weights and reports what the plan asks for."""

    def begin(self, network: Network, batch: Batch, plan: InjectionPlan, *, clocked: bool) -> Pending:
        """Begin to observe, per window (`clocked`) or over the whole sample; the weights must stay until it is done."""


class Pending:
    """An observation that is under way: `wait` returns it once it is there, or raises what went wrong."""

    def __init__(self, layers: Collection[str], wait: Callable[[], Seen]) -> None:
        self.layers = frozenset(layers)
        self.wait = wait

    @property
    def observations(self) -> Awaited:
        """What a run takes: it waits at the first layer that was observed, and computes until there."""
        return Awaited(layers=self.layers, wait=lambda: self.wait().observations)


@dataclass(slots=True)
class ModelExecutor:
    """The synchronous network itself: with it in the loop, every method is its plain self, bit for bit.

    `whole_counts` as in the method that observes through it.
    """

    whole_counts: bool = False

    def begin(self, network: Network, batch: Batch, plan: InjectionPlan, *, clocked: bool) -> Pending:
        """Compute it now: there is nobody else to do it."""
        seen = self.observe(network, batch, plan, clocked=clocked)
        return Pending(seen.observations.counts, lambda: seen)

    def observe(self, network: Network, batch: Batch, plan: InjectionPlan, *, clocked: bool) -> Seen:
        """Return what the model computes."""
        with torch.no_grad():
            if clocked:
                run = run_windows(network, batch.x, edges_us=batch.edges_us)
            else:
                whole = batch.x.sum(0)
                run = run_frame(network, whole, edges_us=batch.edges_us, whole_counts=self.whole_counts)
        names = plan.names(network.spec)
        v = {name: run.v[name] for name in names} if plan.v and clocked else {}
        return Seen(observations=Observations(counts={name: run.counts[name] for name in names}, v=v))


@dataclass(slots=True)
class DeviceExecutor:
    """A device: the network is quantised, loaded and run on the events themselves.

    `scales` fixes the integer grids between calls of `choose_grids` (the first of which is made at need), so that a
    step costs a rounding and no search.
    """

    device: Device
    profile: ChipProfile
    scheme: IntScheme = field(default_factory=IntScheme)
    scales: Mapping[str, float] = field(default_factory=dict)
    spikes_per_update: Literal["one", "all"] | None = None
    _program: Program | None = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "device"), repr=False)

    def choose_grids(self, network: Network) -> dict[str, Grid]:
        """Choose the scale of every layer for the weights of this moment, and keep it."""
        self.scales = {name: grid.scale for name, grid in choose_grids(network, self.scheme).items()}
        return {name: Grid(scale, self.scheme.q_max, self.scheme.v_max) for name, scale in self.scales.items()}

    def load(self, network: Network) -> Program:
        """Quantise the weights of this moment and load them."""
        program = self._program = self._compiled(network)
        self.device.load(program)
        return program

    def observe(self, network: Network, batch: Batch, plan: InjectionPlan, *, clocked: bool) -> Seen:
        """Return what the device did; as `begin`, and waits for it."""
        return self.begin(network, batch, plan, clocked=clocked).wait()

    def begin(self, network: Network, batch: Batch, plan: InjectionPlan, *, clocked: bool) -> Pending:
        """Round the weights, and let the device run: at once in a thread of its own where it computes elsewhere.

        A simulator would only take the processors that the model needs meanwhile; it runs when its answer is waited
        for, on the same threads as the model. Counts are the device's, potentials too, with their units (the layer's
        scale times its gain). Waiting for them raises ReadoutError when the device's answer is incomplete or
        contradicts itself.
        """
        begin = time.perf_counter()
        program = self._program_of_this_moment(network)
        names = plan.names(network.spec)
        edges = batch.edges_us if clocked else (batch.edges_us[0], batch.edges_us[-1])
        with_v = plan.v and clocked
        monitor = Monitor(counts=names, potentials=names if with_v else (), window_edges_us=edges)
        units = {name: self.scales[name] * network.gain(network.spec.layer(name)) for name in names} if with_v else {}
        before = time.perf_counter() - begin

        def run() -> Seen:
            begin = time.perf_counter()
            self.device.load(program)
            trace = self.device.run_batch(batch.events, monitor=monitor)
            if not isinstance(self.device, ResilientDevice):  # which has looked already
                require_plausible(program, monitor, trace, len(batch.events), kind=self.device.info.kind)
            lost = int(trace.lost.sum())
            if lost:
                raise DeviceError(
                    f"{lost} spikes did not fit the counts of their windows: the network runs away; lower lr"
                )
            counts = {name: _to_torch(trace.counts[name], network, name) for name in names}
            v = {name: _to_torch(trace.potentials[name], network, name) for name in monitor.potentials}
            observations = Observations(counts=counts, v=v, v_units=units)
            seconds = before + time.perf_counter() - begin
            return Seen(observations=observations, seconds=seconds, synops=trace.total("synops"))

        if self.device.info.elsewhere:
            return Pending(names, self._thread.submit(run).result)
        return Pending(names, cache(run))

    def _program_of_this_moment(self, network: Network) -> Program:
        """Return the network's program for one run; the first, and one that rounding breaks, go the long way."""
        if self._program is not None and self.scales:
            self._widen_grids(network)
            program = reload_program(self._program, network, self.scheme, self.scales)
            if program is not None:
                return program
        self._program = self._compiled(network)
        return self._program

    def _compiled(self, network: Network) -> Program:
        if not self.scales:
            self.choose_grids(network)
        self._widen_grids(network)
        quant = quantize(network.to_spec(), self.scheme, scales=self.scales)
        if self._program is None:
            return compile_program(quant, self.profile, spikes_per_update=self.spikes_per_update)
        return with_weights(self._program, quant)

    def _widen_grids(self, network: Network) -> None:
        """Choose a coarser scale for layers whose bias has outgrown its eight bits since the grids were chosen."""
        for layer in network.spec.spiking:
            if layer.name not in network.biases:
                continue
            limit = BIAS_MAX * self.scales[layer.name] * network.gain(layer)
            if float(network.biases[layer.name].detach().abs().max()) <= limit:
                continue
            grid = _grid(network, layer, self.scheme)
            self.scales = {**self.scales, layer.name: grid.scale}
            if layer.name in network.grids:
                network.grids = {**network.grids, layer.name: grid}


def choose_grids(network: Network, scheme: IntScheme) -> dict[str, Grid]:
    """Return the integer grid that the scheme chooses for every layer's present weights and biases."""
    return {layer.name: _grid(network, layer, scheme) for layer in network.spec.spiking}


def _grid(network: Network, layer: LayerSpec, scheme: IntScheme) -> Grid:
    return Grid(layer_scale(network.layer(layer), scheme, network.gain(layer)), scheme.q_max, scheme.v_max)


def _to_torch(array: NDArray[Any], network: Network, name: str) -> torch.Tensor:
    """Return [T, B, C, H, W] in the layer's own shape (a fully connected layer has no map); nothing is copied."""
    out = torch.from_numpy(array)
    return out.flatten(2) if len(network.spec.layer(name).out_shape) == 1 else out
