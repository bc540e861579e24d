"""Networks in files."""

from __future__ import annotations

from pathlib import Path

from chiploop import tree
from chiploop.spec.graph import NetworkSpec


def write_network(path: Path, network: NetworkSpec) -> None:
    """Write a network atomically: weights and structure in one safetensors file; equal networks give equal bytes."""
    tree.write(path, network)


def read_network(path: Path) -> NetworkSpec:
    """Read a network; it equals, by digest, the one that was written.

    Raises DataError that names the file when it is damaged, holds something else or describes an impossible network.
    """
    return tree.read(path, NetworkSpec)
