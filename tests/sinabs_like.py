"""Modules with the names and attributes of sinabs' own, and its equations in a plain loop: sinabs is not needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class MultiSpike:
    """Name of the function that fires as often as the potential allows."""


class SingleSpike:
    """Name of the function that fires once a step."""


class MaxSpike:
    """A function with a limit."""

    def __init__(self, max_num_spikes_per_bin: int | None) -> None:
        self.max_num_spikes_per_bin = max_num_spikes_per_bin


class MembraneSubtract:
    """Reset by subtraction."""

    def __init__(self, subtract_value: float | None = None) -> None:
        self.subtract_value = subtract_value


class MembraneReset:
    """Reset to a value."""

    def __init__(self, reset_value: float = 0.0) -> None:
        self.reset_value = reset_value


class LIF(nn.Module):
    """[B, T, ...] in and out: v <- a v + (1 - a or 1) z, spikes, reset, then the lower bound."""

    def __init__(
        self,
        tau_mem: float | None = 10.0,
        *,
        spike_threshold: float | Tensor = 1.0,
        min_v_mem: float | None = None,
        spike_fn: Any = MultiSpike,
        reset_fn: Any = None,
        norm_input: bool = True,
        tau_syn: float | None = None,
        train_alphas: bool = False,
    ) -> None:
        super().__init__()
        alpha = 1.0 if tau_mem is None else float(torch.exp(torch.tensor(-1.0 / tau_mem)))
        self.tau_mem = None if tau_mem is None or train_alphas else torch.tensor(tau_mem)
        self.alpha_mem = torch.tensor(alpha)
        self.train_alphas = train_alphas
        self.spike_threshold = torch.as_tensor(spike_threshold)
        self.min_v_mem = None if min_v_mem is None else torch.tensor(min_v_mem)
        self.spike_fn, self.reset_fn = spike_fn, reset_fn or MembraneSubtract()
        self.norm_input, self.tau_syn = norm_input, tau_syn

    def forward(self, x: Tensor) -> Tensor:
        v, theta, out = torch.zeros_like(x[:, 0]), self.spike_threshold, []
        for z in x.unbind(1):
            v = self.alpha_mem * v + (1 - self.alpha_mem if self.norm_input else 1.0) * z
            s = (v - theta >= 0).float() if self.spike_fn is SingleSpike else (v > 0) * torch.trunc(v / theta)
            v = v * (s == 0) if isinstance(self.reset_fn, MembraneReset) else v - s * theta
            if self.min_v_mem is not None:
                v = torch.relu(v - self.min_v_mem) + self.min_v_mem
            out.append(s)
        return torch.stack(out, 1)


class IAF(LIF):
    """Without leak."""

    def __init__(self, **given: Any) -> None:
        super().__init__(None, norm_input=False, **given)


class LIFSqueeze(LIF):
    """Batch and time in one axis."""

    def __init__(self, tau_mem: float | None = 10.0, *, batch_size: int, **given: Any) -> None:
        super().__init__(tau_mem, **given)
        self.batch_size = batch_size

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.unflatten(0, (self.batch_size, -1))).flatten(0, 1)


class IAFSqueeze(LIFSqueeze):
    """Without leak, batch and time in one axis."""

    def __init__(self, *, batch_size: int, **given: Any) -> None:
        super().__init__(None, norm_input=False, batch_size=batch_size, **given)


class SumPool2d(nn.LPPool2d):
    """Sums as a norm of order 1."""

    def __init__(self, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__(1, kernel_size, stride, ceil_mode)


class Network(nn.Module):
    """What wraps a converted model."""

    def __init__(self, spiking_model: nn.Module | None) -> None:
        super().__init__()
        self.spiking_model = spiking_model


class Merge(nn.Module):
    """Adds up two branches."""


class IAFRecurrent(LIF):
    """With connections to itself."""
