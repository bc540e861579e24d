"""Events: what a sensor or a chip core emitted, and what can be done with them."""

from chiploop.events.types import Events, SensorShape

__all__ = ["Events", "SensorShape"]
