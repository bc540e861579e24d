"""Devices on the other side of a wire: a board in a lab, in a training loop elsewhere (needs the extra `remote`)."""

from chiploop.chip.remote.client import RemoteDevice

__all__ = ["RemoteDevice"]
