"""Real boards: what a program is to the vendor, the border to the vendor's library, and the device that uses both."""

from chiploop.chip.hardware.speck import SpeckDevice

__all__ = ["SpeckDevice"]
