"""Norse: convolutions on all steps at once (its Lift), neurons in a loop over the steps."""

from __future__ import annotations

from torch import Tensor, nn

from chiploop.bench.peers.contender import CONTENDERS, Contender, Work, conv, linear, pool


@CONTENDERS.register("norse")
def build(work: Work) -> Contender:
    """Return the network in Norse."""
    import norse.torch as norse

    parts: list[nn.Module] = []
    for number, weight in enumerate(work.convolutions, 1):
        parts += [norse.Lift(conv(weight)), norse.IAF()]
        parts += [norse.Lift(pool())] if number < len(work.convolutions) else []
    parts += [norse.Lift(nn.Flatten()), norse.Lift(linear(work.linear)), norse.IAF()]
    network = norse.SequentialState(*parts)

    def counts(x: Tensor) -> Tensor:
        out: Tensor = network(x)[0]
        return out.sum(0)

    return Contender(counts=counts, parameters=list(network.parameters()))
