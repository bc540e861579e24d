"""What the chip in the loop costs: a step with it beside the step without it, on the same batch and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chiploop.bench.benchmark import BENCHMARKS, OURS, Aim, BenchOptions, Outcome, Row, Tell, in_turn, rates

if TYPE_CHECKING:
    from chiploop.chip.virtual import VirtualDevice
    from chiploop.learn.batch import Batch, Samples
    from chiploop.network.network import Network
    from chiploop.recipes.recipe import Recipe

RECIPE = "demo"
BATCH = 32
TRAINING, EPOCHS = 480, 3
"""Recordings and epochs that the weights are trained on before: what the chip does depends on them."""
LENGTHS = (5, 10, 20)
STEP = "a training step"
CHIP = "synaptic updates while in the loop"
BY_CHIP = "cil-bptt, forward by the chip"
METHOD_OF = {BY_CHIP: "cil-bptt"}
PAIRS = {BY_CHIP: ("bptt", 1.2), "cil-bptt": ("bptt", 1.2), "cil-ann": ("ann", 1.5)}
"""Methods in the loop, with the one they are compared with and the aim for their ratio."""


def step_of(method: str, network: Network, recipe: Recipe, batch: Batch, device: VirtualDevice) -> Callable[[], int]:
    """Return a method's whole step on a batch, which gives the chip's synaptic updates; the rate is 0, so that weights
    and work stay.
    """
    import torch

    from chiploop.chip.profile import read_profile
    from chiploop.learn.executor import DeviceExecutor
    from chiploop.learn.method import METHODS, MethodOptions
    from chiploop.recipes.train import scheme_of

    executor = DeviceExecutor(device=device, profile=read_profile(recipe.chip.profile), scheme=scheme_of(recipe))
    options = MethodOptions(
        plan="all" if method.endswith("ann") else "all+v",
        forward="chip" if method == BY_CHIP else "model",
        scheme=scheme_of(recipe),
    )
    learner = METHODS.get(METHOD_OF.get(method, method))(options, executor)
    learner.begin_epoch(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0)

    def step() -> int:
        optimizer.zero_grad(set_to_none=True)
        result = learner.step(network, batch)
        torch.autograd.backward(result.loss)
        optimizer.step()
        return result.synops

    return step


def trained_network(recipe: Recipe, samples: Samples, *, threads: int) -> Network:
    """Return the recipe's network after some epochs of training through time on these recordings."""
    from chiploop.learn.determinism import pin
    from chiploop.learn.fit import FitOptions, fit
    from chiploop.learn.method import METHODS, MethodOptions
    from chiploop.recipes.prepare import Parts
    from chiploop.recipes.train import initial_network

    pin(threads)
    parts = Parts(train=samples, validation=samples, test=samples, pretrain=None)
    network = initial_network(recipe, parts, seed=recipe.seed)
    options = FitOptions(epochs=EPOCHS, lr=4e-3, select=False)
    fit(METHODS.get("bptt")(MethodOptions(), None), network, samples, options, seed=recipe.seed, score=lambda _: 0.0)
    return network


@dataclass(frozen=True)
class Loop:
    """The benchmark."""

    summary: str = "a step with the chip in the loop, beside the same step without it"

    def run(self, options: BenchOptions, tell: Tell) -> Outcome:
        """Measure the steps in turn, at several numbers of windows; the aims hold at the recipe's."""
        from chiploop.bench.recordings import open_recordings
        from chiploop.learn.allocator import keep_freed_memory
        from chiploop.learn.batch import Samples
        from chiploop.recipes.recipe import read_recipe

        keep_freed_memory()  # as a run of a recipe does
        recipe = read_recipe(RECIPE)
        dataset, what = open_recordings(options.root)
        indices = np.linspace(0, len(dataset) - 1, min(TRAINING, len(dataset))).astype(int)
        tell(f"training {recipe.network.layers} on {len(indices)} {what}")
        trained = trained_network(
            recipe, Samples.of(dataset, indices, recipe.encode.n_windows), threads=options.threads
        ).to_spec()
        rows: list[Row] = []
        aims: list[Aim] = []
        shown = indices[:: max(1, len(indices) // BATCH)][:BATCH]
        for n_windows in LENGTHS:
            tell(f"steps at {n_windows} windows, in turn")
            batch = Samples.of(dataset, shown, n_windows).batch(range(len(shown)))
            found, synops = self._steps(trained, recipe, batch, options, n_windows)
            rows += found.values()
            if n_windows >= recipe.encode.n_windows:
                chip = _chip_row(batch, trained, recipe, options, synops, n_windows)
                rows.append(chip)
                pairs = ((found[name], found[plain], wanted) for name, (plain, wanted) in PAIRS.items())
                aims += [_aim(looped, plain, wanted, chip, synops) for looped, plain, wanted in pairs]
        return Outcome(rows=tuple(rows), aims=tuple(aims), notes=(f"Recordings: {what}.",))

    def _steps(
        self, trained: object, recipe: Recipe, batch: Batch, options: BenchOptions, n_windows: int
    ) -> tuple[dict[str, Row], int]:
        """Return a row a method, and the synaptic updates of one step."""
        import dataclasses

        from chiploop.chip.virtual import VirtualDevice
        from chiploop.network.network import Network
        from chiploop.spec.graph import NetworkSpec

        assert isinstance(trained, NetworkSpec)
        spec = dataclasses.replace(trained, dt_us=int(batch.edges_us[1] - batch.edges_us[0]))
        with VirtualDevice(threads=options.threads) as device:
            names = dict.fromkeys(name for name, (plain, _) in PAIRS.items() for name in (plain, name))
            steps = {name: step_of(name, Network(spec), recipe, batch, device) for name in names}
            synops = steps["cil-ann"]()
            seconds = in_turn(steps, options.rounds)
        setting = {"T": n_windows, "batch": len(batch.labels)}
        rows = {
            name: Row(what=STEP, who=name, unit="s", better="lower", values=tuple(taken), setting=setting)
            for name, taken in seconds.items()
        }
        return rows, synops


def _chip_row(batch: Batch, trained: object, recipe: Recipe, options: BenchOptions, synops: int, n_windows: int) -> Row:
    """Return the chip's own rate on the batch: what a step in the loop cannot go below."""
    from chiploop.chip.compile import compile as compile_program
    from chiploop.chip.device import Monitor
    from chiploop.chip.profile import read_profile
    from chiploop.chip.virtual import VirtualDevice
    from chiploop.quantize.apply import quantize
    from chiploop.spec.graph import NetworkSpec

    assert isinstance(trained, NetworkSpec)
    program = compile_program(quantize(trained), read_profile(recipe.chip.profile))
    names = tuple(core.layer for core in program.cores)
    monitor = Monitor(counts=names, potentials=names, window_edges_us=batch.edges_us)
    with VirtualDevice(threads=options.threads) as device:
        device.load(program)
        seconds = in_turn({OURS: lambda: device.run_batch(batch.events, monitor=monitor)}, options.rounds)[OURS]
    setting = {"T": n_windows, "threads": options.threads}
    values = rates(float(synops), seconds)
    return Row(what=CHIP, who=OURS, unit="synops/s", better="higher", values=values, setting=setting)


def _aim(looped: Row, plain: Row, wanted: float, chip: Row, synops: int) -> Aim:
    value, low, high = looped.ratio_to(plain)
    own = synops / chip.median
    return Aim(
        what=f"a step of {looped.who}, over one of {plain.who}, at {plain.setting['T']} windows",
        unit="x",
        better="lower",
        wanted=wanted,
        value=value,
        low=low,
        high=high,
        limit=(
            f"the chip's own work: {synops / 1e6:.0f} M synaptic updates take {1e3 * own:.1f} ms of all cores, "
            f"the plain step {1e3 * plain.median:.1f} ms of them"
        ),
    )


BENCHMARKS.register("loop")(Loop())
