"""Train spiking neural networks with the chip in the loop."""

__version__ = "0.1.0"
