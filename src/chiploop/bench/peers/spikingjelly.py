"""SpikingJelly: layers run on all steps at once (its multi-step mode), neurons by its fused CPU operation."""

from __future__ import annotations

from torch import Tensor, nn

from chiploop.bench.peers.contender import CONTENDERS, Contender, Work, conv, linear, pool


@CONTENDERS.register("spikingjelly")
def build(work: Work) -> Contender:
    """Return the network in SpikingJelly."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def fire() -> nn.Module:
        node: nn.Module = neuron.IFNode(v_reset=0.0, surrogate_function=surrogate.ATan(), step_mode="m")
        return node

    parts: list[nn.Module] = []
    for number, weight in enumerate(work.convolutions, 1):
        parts += [layer.SeqToANNContainer(conv(weight)), fire()]
        parts += [layer.SeqToANNContainer(pool())] if number < len(work.convolutions) else []
    parts += [layer.SeqToANNContainer(nn.Flatten(), linear(work.linear)), fire()]
    network = nn.Sequential(*parts)

    def counts(x: Tensor) -> Tensor:
        functional.reset_net(network)
        out: Tensor = network(x)
        return out.sum(0)

    return Contender(counts=counts, parameters=list(network.parameters()))
