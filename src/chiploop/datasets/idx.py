"""The IDX format of MNIST and its kin: big-endian header, then bytes; gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop.errors import DataError

UNSIGNED_BYTE = 0x08
"""IDX type code of uint8, the only one these data sets use."""
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, ndim: int) -> NDArray[np.uint8]:
    """Read an array of bytes with `ndim` axes; raises DataError with the byte offset of what is wrong."""
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    header = 4 + 4 * ndim
    if len(content) < header:
        raise DataError(f"{path} is truncated at byte {len(content)}: an IDX header of {ndim} axes has {header} bytes")
    if content[:2] != b"\x00\x00" or content[2] != UNSIGNED_BYTE or content[3] != ndim:
        raise DataError(
            f"{path}: header {content[:4].hex()} at byte 0, expected 000008{ndim:02x} "
            f"(IDX, unsigned bytes, {ndim} axes)"
        )
    sizes = np.frombuffer(content, ">u4", ndim, 4).tolist()
    if len(content) != header + math.prod(sizes):
        raise DataError(
            f"{path} has {len(content)} bytes after unpacking, but its header (byte 4: sizes {sizes}) asks for "
            f"{header + math.prod(sizes)}; fetch the file again"
        )
    array: NDArray[np.uint8] = np.frombuffer(content, np.uint8, offset=header).reshape(sizes)
    return array
