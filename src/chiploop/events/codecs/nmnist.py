"""The five-byte address-event format of N-MNIST and N-Caltech101.

Byte 0 is x, byte 1 is y; bit 7 of byte 2 is the polarity (1 = on); the remaining 23 bits, big-endian, are the time in
us. A record with y = 240 is no event: it adds 2^13 us to the time of every record that follows (Orchard et al. 2015).
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from chiploop import atomic
from chiploop.errors import DataError
from chiploop.events.codecs import CODECS, Codec
from chiploop.events.compiled import RECORD_BYTES, Fault, decode_compiled
from chiploop.events.types import Events, SensorShape

TIME_BITS = 23
OVERFLOW_Y = 240
OVERFLOW_US = 1 << 13
X_FAULT, Y_FAULT, TIME_FAULT = 1, 2, 3
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
    decoded = decode_compiled(content, shape, stop_us) if _fits(shape) else None
    if isinstance(decoded, Events):
        return decoded
    return (
        decode_plain(content, shape, where=where, stop_us=stop_us)
        if decoded is None
        else _refuse(decoded, shape, where)
    )


def decode_plain(content: bytes, shape: SensorShape, *, where: str, stop_us: int) -> Events:
    """Decode whole records with NumPy, one column after the other: what the format means, in full."""
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
        _refuse(Fault(TIME_FAULT, int(record[i]), int(t[i - 1]), int(t[i])), shape, where)
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


def _fits(shape: SensorShape) -> bool:
    """Whether every record's polarity is a channel of the sensor; where not, the constructor of Events must look."""
    return shape.channels > 1


def _require_addresses(raw: NDArray[np.uint8], record: NDArray[np.int64], shape: SensorShape, where: str) -> None:
    for kind, byte, bound in ((X_FAULT, 0, shape.width), (Y_FAULT, 1, shape.height)):
        outside = raw[:, byte] >= bound
        if outside.any():
            i = int(np.argmax(outside))
            _refuse(Fault(kind, int(record[i]), 0, int(raw[i, byte])), shape, where)


def _refuse(fault: Fault, shape: SensorShape, where: str) -> NoReturn:
    """Raise DataError that says where in the file the fault is."""
    at = fault.record * RECORD_BYTES
    if fault.kind == TIME_FAULT:
        raise DataError(
            f"{where}: time goes back from {fault.before} to {fault.value} us at byte {at + 2}; the file is damaged"
        )
    name, byte, bound = ("x", 0, shape.width) if fault.kind == X_FAULT else ("y", 1, shape.height)
    raise DataError(
        f"{where}: {name} = {fault.value} at byte {at + byte} lies outside the sensor (0..{bound - 1}); give the "
        "sensor's shape, or the file is damaged"
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
