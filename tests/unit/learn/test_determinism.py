"""The same bits, whatever the environment says about threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from chiploop.learn.determinism import pin

TRAIN = """
import sys
sys.path.insert(0, {tests!r})
import torch
from chiploop.learn.determinism import pin
from chiploop.learn.fit import FitOptions, fit
from chiploop.learn.method import METHODS, MethodOptions
from chiploop.quantize.apply import quantize
from strategies_network import shapes_samples, small_network

before = torch.get_num_threads()
pin({threads})
network = small_network(2, notation="24c3p1-P2-64c3-3")  # 13,824 weights: enough to share out
method = METHODS.get("bptt")(MethodOptions(quantized=True), None)
fit(method, network, shapes_samples(16), FitOptions(epochs=1, batch_size=8), seed=0, score=lambda _: 0.0)
spec = network.to_spec()
print(before, torch.get_num_threads(), spec.digest, quantize(spec).digest)
"""


def train(environment: str, threads: int) -> list[str]:
    variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), environment)
    script = TRAIN.format(tests=str(Path(__file__).parents[2]), threads=threads)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, **variables, "OMP_WAIT_POLICY": "PASSIVE"},  # two threads on a busy core would spin
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_pinned_training_does_not_depend_on_the_environments_threads() -> None:
    runs = [train(environment, 2) for environment in ("1", "2")]
    assert [run[0] for run in runs] == ["1", "2"]  # the variables were heeded, until pinned
    assert {run[1] for run in runs} == {"2"}
    assert len({run[2] for run in runs}) == 1
    assert len({run[3] for run in runs}) == 1


def test_pinning_sets_threads_and_deterministic_algorithms() -> None:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        pin(3)
        assert torch.get_num_threads() == 3
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
