"""The five-byte address-event format of N-MNIST and N-Caltech101.

Byte 0 is x, byte 1 is y; bit 7 of byte 2 is the polarity (1 = on); the remaining 23 bits, big-endian, are the time in
us. A record with y = 240 is no event: it adds 2^13 us to the time of every record that follows (Orchard et al. 2015).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.errors import DataError
from chiploop.events.codecs import CODECS, Codec
from chiploop.events.types import Events, SensorShape

RECORD_BYTES = 5
TIME_BITS = 23
OVERFLOW_Y = 240
OVERFLOW_US = 1 << 13
SHAPE = SensorShape(channels=2, height=34, width=34)


def read_nmnist(path: Path, shape: SensorShape | None = None) -> Events:
    """Read a recording; it starts at 0 and stops just after its last event.

    Raises DataError with the byte offset when the file is empty or truncated, when an address lies outside the
    sensor, or when times go backwards.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return decode_nmnist(content, shape or SHAPE, where=str(path))


def decode_nmnist(content: bytes, shape: SensorShape = SHAPE, *, where: str = "bytes", stop_us: int = 0) -> Events:
    """Decode a file's content; the recording stops at `stop_us`, or after its last event if that comes later."""
    if not content:
        raise DataError(f"{where} is empty (byte 0): a recording holds at least one {RECORD_BYTES}-byte event")
    if len(content) % RECORD_BYTES:
        whole = len(content) - len(content) % RECORD_BYTES
        raise DataError(
            f"{where} is truncated at byte {whole}: {len(content)} bytes are no multiple of {RECORD_BYTES}; "
            "fetch the file again"
        )
    raw = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    record = np.arange(len(raw))
    t = _times(raw)
    marker = raw[:, 1] == OVERFLOW_Y
    if marker.any():
        t += OVERFLOW_US * np.cumsum(marker)
        raw, t, record = raw[~marker], t[~marker], record[~marker]
    _require_addresses(raw, record, shape, where)
    backwards = t[1:] < t[:-1]
    if backwards.any():
        i = int(np.argmax(backwards)) + 1
        raise DataError(
            f"{where}: time goes back from {t[i - 1]} to {t[i]} us at byte {record[i] * RECORD_BYTES + 2}; "
            "the file is damaged"
        )
    stop = max(stop_us, int(t[-1]) + 1 if t.size else 0)
    return Events.from_columns(t, raw[:, 2] >> 7, raw[:, 1], raw[:, 0], shape, stop_us=stop)


def write_nmnist(path: Path, events: Events) -> None:
    """Write a recording; raises DataError for what the format cannot hold."""
    _require_writable(events)
    t = events.t_us
    raw = np.empty((len(events), RECORD_BYTES), np.uint8)
    raw[:, 0] = events.x
    raw[:, 1] = events.y
    raw[:, 2] = (events.channel.astype(np.int64) << 7) | (t >> 16)
    raw[:, 3] = (t >> 8) & 0xFF
    raw[:, 4] = t & 0xFF
    atomic.write_bytes(Path(path), raw.tobytes())


def _times(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    high = (raw[:, 2] & 0x7F).astype(np.int64) << 16
    return high | (raw[:, 3].astype(np.int64) << 8) | raw[:, 4]


def _require_addresses(raw: NDArray[np.uint8], record: NDArray[np.int64], shape: SensorShape, where: str) -> None:
    for byte, name, bound in ((0, "x", shape.width), (1, "y", shape.height)):
        outside = raw[:, byte] >= bound
        if outside.any():
            i = int(np.argmax(outside))
            raise DataError(
                f"{where}: {name} = {raw[i, byte]} at byte {record[i] * RECORD_BYTES + byte} lies outside the sensor "
                f"(0..{bound - 1}); give the sensor's shape, or the file is damaged"
            )


def _require_writable(events: Events) -> None:
    if not len(events):
        raise DataError("an N-MNIST file holds at least one event; this recording has none")
    if events.shape.channels > 2:
        raise DataError(f"an N-MNIST file has one bit of polarity; these events have {events.shape.channels} channels")
    if events.start_us < 0 or int(events.t_us[-1]) >= 1 << TIME_BITS:
        raise DataError(
            f"an N-MNIST file holds times 0..{(1 << TIME_BITS) - 1} us; these reach "
            f"{events.t_us[0]}..{events.t_us[-1]}: shift or crop them first"
        )
    if int(events.y.max()) >= OVERFLOW_Y or int(events.x.max()) > 0xFF:
        raise DataError(
            f"an N-MNIST file holds x <= 255 and y < {OVERFLOW_Y}; these reach {events.x.max()}, {events.y.max()}"
        )


CODECS.register("nmnist")(
    Codec(read=read_nmnist, write=write_nmnist, suffix=".bin", summary="5-byte address events of N-MNIST")
)
