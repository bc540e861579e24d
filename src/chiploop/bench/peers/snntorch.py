"""snnTorch: a loop over the steps in Python."""

from __future__ import annotations

from torch import Tensor, nn

from chiploop.bench.peers.contender import CONTENDERS, Contender, Work, conv, linear, pool


@CONTENDERS.register("snntorch")
def build(work: Work) -> Contender:
    """Return the network in snnTorch."""
    import snntorch
    from snntorch import surrogate, utils

    def fire() -> nn.Module:
        node: nn.Module = snntorch.Leaky(
            beta=1.0,
            threshold=1.0,
            spike_grad=surrogate.atan(),
            init_hidden=True,
            reset_mechanism="zero",
            reset_delay=False,
        )
        return node

    parts: list[nn.Module] = []
    for number, weight in enumerate(work.convolutions, 1):
        parts += [conv(weight), fire()]
        parts += [pool()] if number < len(work.convolutions) else []
    network = nn.Sequential(*parts, nn.Flatten(), linear(work.linear), fire())

    def counts(x: Tensor) -> Tensor:
        utils.reset(network)
        total: Tensor = network(x[0])
        for step in x[1:]:
            total = total + network(step)
        return total

    return Contender(counts=counts, parameters=list(network.parameters()))
