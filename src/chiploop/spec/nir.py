"""NIR both ways: networks to and from the exchange format that spiking simulators and chips share.

The package `nir` is imported only where a file is read or a graph is made: pip install 'chiploop[nir]'.
"""

from chiploop.spec.nir_export import to_nir, write_nir
from chiploop.spec.nir_format import Assume, NirReport
from chiploop.spec.nir_import import from_nir, read_nir

__all__ = ["Assume", "NirReport", "from_nir", "read_nir", "to_nir", "write_nir"]
