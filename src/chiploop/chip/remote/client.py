"""A device elsewhere, as if it were here."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from chiploop import errors, tree
from chiploop.chip.device import DEVICES, BatchTrace, DeviceInfo, Monitor, Trace
from chiploop.chip.plausible import require_plausible
from chiploop.chip.program import Program
from chiploop.chip.remote import access, wire
from chiploop.chip.remote.pieces import joined, pieces_of
from chiploop.errors import ChiploopError, DataError, DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError
from chiploop.events.types import Events

CONNECT_S, SHORT_S = 10.0, 2.0
"""Deadlines of opening, and of closing and signs of life."""
TIMEOUT_S = 60.0
_PING_MS, _PING_TIMEOUT_MS = 10_000, 5_000
_SIGNS_PER_LEASE = 3

_ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ChiploopError)
}
"""Errors that may come back as what they are: those of this package, by name."""


@DEVICES.register("remote")
class RemoteDevice:
    """A device that a `chiploop serve` elsewhere holds: what it does and reports is that device's, bit for bit.

    `address` is host:port. The token comes from `token`, else from `token_file`, else from $CHIPLOOP_REMOTE_TOKEN. The
    connection is encrypted when `cert` (a PEM file: the server's certificate, or that of who signed it) or
    $CHIPLOOP_REMOTE_CERT is given; without, the token is sent to this machine only, unless `insecure` says that it may
    cross the network in clear, where anyone on the way can read it and take the device.

    The device is this client's alone until it is closed, or until the client gives no sign of life for the length of
    the server's lease; with the same `owner` a client that was cut off takes its place again. Each call has
    `timeout_s`; large batches go in several calls.

    Raises what the far device raises; DeviceTimeoutError when a call's time is up (the states are then unknown: reset
    or load), DeviceLostError when the connection or the session is gone (open the device anew), ReadoutError when an
    answer came damaged or contradicts itself.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        token_file: Path | None = None,
        cert: Path | None = None,
        insecure: bool = False,
        timeout_s: float = TIMEOUT_S,
        owner: str | None = None,
    ) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._program: Program | None = None
        cert = cert or access.default_cert()
        access.require_protected(access.split_address(address)[0], encrypted=cert is not None, insecure=insecure)
        self._metadata = ((access.TOKEN_KEY, f"Bearer {access.read_token(token, token_file)}"),)
        self._grpc = access.import_grpc()
        self._channel: Any = _channel(self._grpc, address, cert)
        try:
            opened = self._ask("Open", CONNECT_S, owner=owner or secrets.token_hex(16))
            fields = _take(opened, session=str, lease_s=float, info=DeviceInfo)
        except BaseException:
            self._channel.close()
            raise
        self._session: str = fields["session"]
        info: DeviceInfo = fields["info"]
        self._info = dataclasses.replace(info, elsewhere=True)
        self._closed = threading.Event()
        _keep_alive(self, self._closed, fields["lease_s"] / _SIGNS_PER_LEASE)

    @property
    def info(self) -> DeviceInfo:
        """What the far device is."""
        return self._info

    def load(self, program: Program) -> None:
        """Take a program; the state is reset."""
        self._call("Load", program=tree.to_bytes(program))
        self._program = program

    def run(self, events: Events, *, monitor: Monitor | None = None) -> Trace:
        """Run one stream on from the present state."""
        fields = {"monitor": tree.to_bytes(monitor or Monitor()), "streams": wire.Streams.of([events])}
        trace: Trace = _take(self._call("Run", **fields), trace=Trace)["trace"]
        return trace

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        """Run every stream from reset state, in as many calls as the size of messages asks for."""
        asked = monitor or Monitor()
        content = tree.to_bytes(asked)
        parts, first = [], 0
        for piece in pieces_of(batch, self._program, asked):
            try:
                reply = self._call("RunBatch", monitor=content, streams=wire.Streams.of(piece))
            except ChiploopError as error:
                if not first:
                    raise
                raise type(error)(f"{error} (in the part of the batch from stream {first} on)") from error
            part: BatchTrace = _take(reply, trace=BatchTrace)["trace"]
            if self._program is not None:
                require_plausible(self._program, asked, part, len(piece), kind=self._info.kind)
            parts.append(part)
            first += len(piece)
        return joined(parts)

    def reset(self) -> None:
        """Bring every state to zero."""
        self._call("Reset")

    def renew(self) -> None:
        """Give the server a sign of life; a thread does so while the device is open."""
        self._ask("Renew", SHORT_S, session=self._session)

    def close(self) -> None:
        """Give the device back; a server that is gone is no error any more."""
        if self._channel is None:
            return
        self._closed.set()
        with contextlib.suppress(DeviceError):
            self._ask("Close", SHORT_S, session=self._session)
        self._channel.close()
        self._channel, self._program = None, None

    def __enter__(self) -> RemoteDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, **fields: Any) -> wire.Parcel:
        return self._ask(method, self._timeout_s, session=self._session, **fields)

    def _ask(self, method: str, timeout_s: float, **fields: Any) -> wire.Parcel:
        channel = self._channel
        if channel is None:  # closed meanwhile, by another thread
            raise DeviceError("the remote device is closed: open it anew and load(program) first")
        request = wire.pack(**fields)
        if len(request) > wire.MAX_MESSAGE_BYTES:
            raise DeviceError(
                f"{method} takes a message of {len(request):,} bytes, at most {wire.MAX_MESSAGE_BYTES:,} can be sent: "
                "cut the recording"
            )
        call = channel.unary_unary(f"/{wire.SERVICE}/{method}")
        try:
            reply: bytes = call(request, timeout=timeout_s, metadata=self._metadata)
        except self._grpc.RpcError as error:
            raise self._explained(error, method, timeout_s) from error
        try:
            answer = wire.unpack(reply)
        except DataError as error:
            raise ReadoutError(f"the answer of {self._address} is damaged: {error}") from error
        if "error" in answer.structure:
            failure = _take(answer, error=str, message=str)
            raise _ERRORS.get(failure["error"], DeviceError)(failure["message"])
        return answer

    def _explained(self, error: Any, method: str, timeout_s: float) -> DeviceError:
        """Return what gRPC's status means for a user."""
        code, where = error.code().name, f"the remote device at {self._address}"
        if code == "DEADLINE_EXCEEDED":
            return DeviceTimeoutError(f"{where} did not answer {method} within {timeout_s:g} s")
        if code == "UNAUTHENTICATED":
            return DeviceError(f"{where} refused the token: give the one that it was started with")
        if code == "UNIMPLEMENTED":
            return DeviceError(f"{where} does not know {method}: is it a chiploop server of this version?")
        if code == "RESOURCE_EXHAUSTED":
            return DeviceError(f"a message to or from {where} is too large ({error.details()}): use smaller batches")
        return DeviceLostError(f"{where} is gone ({code.lower()}: {error.details()}); is the server running?")


def _take(message: wire.Parcel, /, **hints: Any) -> dict[str, Any]:
    try:
        return message.take(**hints)
    except DataError as error:
        raise ReadoutError(f"the remote device's answer cannot be read: {error}") from error


def _channel(grpc: ModuleType, address: str, cert: Path | None) -> Any:
    options = [
        ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", _PING_MS),  # a cut cable says nothing by itself
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.use_local_subchannel_pool", 1),  # another device's broken connection is none of this one's
    ]
    if cert is None:  # in clear: never by way of a proxy
        return grpc.insecure_channel(address, options=[*options, ("grpc.enable_http_proxy", 0)])
    credentials = grpc.ssl_channel_credentials(access.read_pem(cert, "certificate"))
    return grpc.secure_channel(address, credentials, options=options)


def _keep_alive(device: RemoteDevice, closed: threading.Event, every_s: float) -> None:
    """Give signs of life until the device is closed or forgotten."""
    found = weakref.ref(device)

    def give_signs() -> None:
        while not closed.wait(every_s):
            opened = found()
            if opened is None:
                return
            with contextlib.suppress(DeviceError, ValueError):  # the next real call will say it; closed in between
                opened.renew()
            del opened  # or nobody else's forgetting would count

    threading.Thread(target=give_signs, name="chiploop remote device", daemon=True).start()
