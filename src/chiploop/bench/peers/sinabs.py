"""sinabs: layers on all steps at once, batch first, neurons in its loop over the steps."""

from __future__ import annotations

from torch import Tensor, nn

from chiploop.bench.peers.contender import CONTENDERS, Contender, Work, conv, linear, pool


@CONTENDERS.register("sinabs")
def build(work: Work) -> Contender:
    """Return the network in sinabs."""
    import sinabs
    from sinabs import activation, layers

    batch = work.x.shape[1]

    def fire() -> nn.Module:
        node: nn.Module = layers.IAFSqueeze(
            batch_size=batch, spike_fn=activation.SingleSpike, reset_fn=activation.MembraneReset()
        )
        return node

    parts: list[nn.Module] = []
    for number, weight in enumerate(work.convolutions, 1):
        parts += [conv(weight), fire()]
        parts += [pool()] if number < len(work.convolutions) else []
    network = nn.Sequential(*parts, nn.Flatten(), linear(work.linear), fire())

    def counts(x: Tensor) -> Tensor:
        sinabs.reset_states(network)
        frames = x.transpose(0, 1).flatten(0, 1)
        out: Tensor = network(frames)
        return out.reshape(batch, len(x), -1).sum(1)

    return Contender(counts=counts, parameters=list(network.parameters()))
