"""From images and event streams to what a network takes in."""

from chiploop.encode.raster import rasterize, rasterize_batch, window_edges
from chiploop.encode.types import SpikeTrain

__all__ = ["SpikeTrain", "rasterize", "rasterize_batch", "window_edges"]
