"""Which observed quantities of which layers go into the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiploop.spec.graph import NetworkSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionPlan:
    """Layers and quantities whose observed values replace the modelled ones.

    "output" with counts is proxy learning's single injection; "all" with counts is tandem learning's; potentials
    (`v`) are the paper's V_chip[t].
    """

    layers: Literal["output", "all"] = "output"
    v: bool = False

    def names(self, spec: NetworkSpec) -> tuple[str, ...]:
        """Return the names of the layers that are observed."""
        names = tuple(layer.name for layer in spec.spiking)
        return names[-1:] if self.layers == "output" else names


PLANS = {
    "output": InjectionPlan(),
    "output+v": InjectionPlan(v=True),
    "all": InjectionPlan(layers="all"),
    "all+v": InjectionPlan(layers="all", v=True),
}
"""The plans by the names that recipes use."""
