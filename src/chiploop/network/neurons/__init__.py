"""Neurons: one file each, a frozen dataclass of parameters with a pure step."""
