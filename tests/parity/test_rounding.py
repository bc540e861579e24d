"""The torch side rounds to the very integers that the quantiser gives."""

from __future__ import annotations

import numpy as np
import torch

from chiploop.network.fake_quantize import fake_quantize
from chiploop.quantize import dequantize, quantize, quantize_array
from chiploop.rng import stream
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation


def test_torch_and_numpy_round_alike() -> None:
    rng = stream(0, "rounding")
    for scale in (0.1, 1 / 3, 410 / 4096, 2.0**-7, 0.0123):
        steps = rng.integers(-140, 141, 4_000) + rng.choice([0.0, 0.5], 4_000)  # many exact and near ties
        x = np.concatenate([(steps * np.float32(scale)).astype(np.float32), rng.normal(0, 60 * scale, 4_000)])
        x = x.astype(np.float32)
        ours = quantize_array(x, scale, 127)
        tensor = torch.from_numpy(x)
        theirs = torch.clamp(torch.round(tensor / torch.tensor(scale, dtype=torch.float32)), -127, 127)
        assert np.array_equal(ours, theirs.numpy())
        assert np.array_equal(ours * np.float32(scale), fake_quantize(tensor, scale, 127).numpy())


def test_float32_on_the_dequantised_network_computes_what_integers_do() -> None:
    rng = stream(1, "rounding")
    spec = parse_notation("300", (200,), NeuronSpec(v_th=0.37), rng)
    quant = quantize(spec)
    layer, real = quant.layer("fc1"), dequantize(quant).layer("fc1")
    counts = rng.poisson(0.5, (64, 200))
    states = counts @ layer.weight.T.astype(np.int64)
    assert np.abs(states).max() > 2_000  # far past what float32 would forgive with a scale of 24 bits
    current = torch.from_numpy(counts.astype(np.float32)) @ torch.from_numpy(np.array(real.weight)).T
    assert np.array_equal(current.numpy().astype(np.float64), states * layer.scale)
