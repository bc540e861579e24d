"""Networks in integers: the scheme, the scale, the rounding."""

from chiploop.quantize.apply import dequantize, quantize
from chiploop.quantize.scale import SCALES, choose_scale, quantize_array, quantize_threshold, snap_scale
from chiploop.quantize.scheme import IntScheme, QuantLayer, QuantSpec

__all__ = [
    "SCALES",
    "IntScheme",
    "QuantLayer",
    "QuantSpec",
    "choose_scale",
    "dequantize",
    "quantize",
    "quantize_array",
    "quantize_threshold",
    "snap_scale",
]
