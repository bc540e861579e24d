"""Calls and answers that are none, from either side, and the bound of messages."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from chiploop.chip.device import DeviceInfo
from chiploop.chip.remote import RemoteDevice, wire
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import (
    DeviceError,
    DeviceTimeoutError,
    ReadoutError,
)
from served import TOKEN
from strategies_chip import (
    neuron,
    pulses,
)

PATIENCE_S = 60
"""After which a test that waits for another thread or process gives up."""


def raw_call(address: str, method: str, request: bytes) -> wire.Parcel:
    with grpc.insecure_channel(address) as channel:
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        return wire.unpack(
            channel.unary_unary(f"/{wire.SERVICE}/{method}")(request, timeout=PATIENCE_S, metadata=metadata)
        )


@pytest.mark.parametrize(
    ("method", "request_bytes", "error", "message"),
    [
        ("Open", b"", "ReadoutError", "what reached the remote device is damaged: a message of 0 bytes is cut short"),
        ("Open", b"\xff" * 100, "ReadoutError", "does not begin as chiploop's do"),
        ("Open", wire.pack(owner="me")[:-1] + b"!", "ReadoutError", "checksum differs"),
        ("Open", wire.pack(owner=3), "DeviceError", "cannot read the call: field 'owner'"),
        ("Open", wire.pack(owner="me", more=1), "DeviceError", "cannot read the call"),
        ("Load", wire.pack(session="none", program=b"\x80\x04."), "DeviceError", "the program is not a chiploop file"),
        ("Load", wire.pack(session="none"), "DeviceError", "cannot read the call"),
        ("Renew", wire.pack(session="guessed"), "DeviceLostError", "the session on the remote device has ended"),
        ("Reset", wire.pack(session="guessed"), "DeviceLostError", "the session on the remote device has ended"),
        ("Close", wire.pack(session="guessed"), "DeviceLostError", "the session on the remote device has ended"),
    ],
)
def test_what_is_no_call_is_refused_with_a_reason(method: str, request_bytes: bytes, error: str, message: str) -> None:
    with DeviceServer(VirtualDevice, token=TOKEN) as server:
        answer = raw_call(server.address, method, request_bytes).take(error=str, message=str)
        assert answer["error"] == error
        assert message in answer["message"]
        with RemoteDevice(server.address, TOKEN):  # and it serves on
            pass


def serving(answers: dict[str, bytes]) -> tuple[grpc.Server, str]:
    """A server that gives these answers, whatever it is asked."""

    def handler(content: bytes) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda *_: content)

    server = grpc.server(ThreadPoolExecutor(2))
    methods = {name: handler(content) for name, content in answers.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(wire.SERVICE, methods),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    return server, address


OPENED = wire.pack(session="s", lease_s=60.0, info=DeviceInfo(name="x", kind="board"))


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (OPENED[:-3], ReadoutError, "the answer of .* is damaged"),
        (b"", ReadoutError, "cut short"),
        (wire.pack(error="SystemExit", message="not one of ours"), DeviceError, "^not one of ours$"),
        (wire.pack(error="DeviceTimeoutError", message="ours"), DeviceTimeoutError, "^ours$"),
        (wire.pack(error=3, message="x"), ReadoutError, "cannot be read"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer: bytes, kind: type[Exception], message: str) -> None:
    server, address = serving({"Open": OPENED, "Load": answer})
    with RemoteDevice(address, TOKEN) as device, pytest.raises(kind, match=message):
        device.load(neuron(4))
    server.stop(None).wait()


def test_another_server_on_that_port_is_explained() -> None:
    server, address = serving({})
    with pytest.raises(DeviceError, match="does not know Open: is it a chiploop server of this version"):
        RemoteDevice(address, TOKEN)
    server.stop(None).wait()
    server, address = serving({"Open": wire.pack(session="s")})
    with pytest.raises(ReadoutError, match="cannot be read"):
        RemoteDevice(address, TOKEN)
    server.stop(None).wait()


def test_messages_are_bounded_on_every_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", 20_000)
    with DeviceServer(VirtualDevice, token=TOKEN) as server, RemoteDevice(server.address, TOKEN) as device:
        device.load(neuron(4))
        with pytest.raises(DeviceError, match=r"Run takes a message of .* bytes, at most 20,000 can be sent"):
            device.run(pulses(list(range(2_000))))
        with pytest.raises(DeviceError, match=r"the answer takes .* bytes, more than the 20,000 of a message"):
            device.run_batch([pulses([])] * 300)  # asked for in 48 bytes each, answered in 90
        with pytest.raises(grpc.RpcError) as caught:  # gRPC itself refuses what is larger still
            raw_call(server.address, "Open", bytes(100_000))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        monkeypatch.setattr(wire, "MAX_MESSAGE_BYTES", 200_000)
        with pytest.raises(DeviceError, match=r"is too large .*: use smaller batches"):
            device.run(pulses(list(range(5_000))))
        assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]
