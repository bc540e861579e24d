"""Serving a device to other processes and hosts, one client at a time, to those who know the token."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from chiploop.chip.device import Device
from chiploop.chip.remote import access, wire
from chiploop.chip.remote.lease import LEASE_S, Lease
from chiploop.chip.remote.service import Action, Service, answer
from chiploop.errors import DeviceError

_WORKERS = 8
_GRACE_S = 5.0
_PING_MS = 5_000
_log = logging.getLogger(__name__)


class DeviceServer:
    """A device behind a port. Use it as a context manager; `address` says where it listens.

    `open_device` opens the device, at the start and again after it was lost. `port` 0 takes a free one. Only calls with
    the token are read. Without `cert` and `key` (PEM files) nothing is encrypted, so only addresses of this machine
    are accepted, unless `insecure` says that the token may cross the network in clear, where anyone on the way can read
    it, take the device and see every recording. A client that gives no sign of life for `lease_s` can be replaced.

    >>> from chiploop.chip.oracle import OracleDevice
    >>> from chiploop.chip.remote import RemoteDevice
    >>> token = "known-to-both-ends"
    >>> with DeviceServer(OracleDevice, token=token) as server, RemoteDevice(server.address, token) as device:
    ...     device.info.name
    'oracle'
    """

    def __init__(
        self,
        open_device: Callable[[], Device],
        *,
        token: str | None = None,
        token_file: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        cert: Path | None = None,
        key: Path | None = None,
        insecure: bool = False,
        lease_s: float = LEASE_S,
    ) -> None:
        if (cert is None) != (key is None):
            raise DeviceError("a certificate and its key go together: give both files, or neither")
        access.require_protected(host, encrypted=cert is not None, insecure=insecure)
        secret = access.read_token(token, token_file)
        grpc = access.import_grpc()
        self.given_back = True
        self._service = Service(open_device, Lease(lease_s))
        self._server = grpc.server(ThreadPoolExecutor(_WORKERS), options=_options())
        self._server.add_generic_rpc_handlers((_Door(grpc, self._service.actions, secret),))
        self.address = access.join_address(host, self._bind(grpc, access.join_address(host, port), cert, key))

    def _bind(self, grpc: ModuleType, address: str, cert: Path | None, key: Path | None) -> int:
        credentials = None
        if cert is not None and key is not None:
            pair = (access.read_pem(key, "key"), access.read_pem(cert, "certificate"))
            credentials = grpc.ssl_server_credentials([pair])
        try:
            if credentials is None:
                port = int(self._server.add_insecure_port(address))
            else:
                port = int(self._server.add_secure_port(address, credentials))
        except RuntimeError:
            port = 0  # as older releases of grpcio say it
        if not port:
            raise DeviceError(
                f"cannot listen on {address}: the port is in use, the address is not this machine's, or certificate "
                "and key do not belong together"
            )
        return port

    def wait(self) -> None:
        """Serve until the server is closed, or until Ctrl-C."""
        self._server.wait_for_termination()

    def close(self) -> None:
        """End the service and give the device back; calls under way have some seconds to end.

        `given_back` says afterwards whether the device was free: one that is still at work is left.
        """
        self._server.stop(_GRACE_S).wait()
        self.given_back = self._service.close(patience_s=_GRACE_S)

    def __enter__(self) -> DeviceServer:
        self._service.info()  # opens the device: what is not there should be said now
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _options() -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", wire.MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", wire.MAX_MESSAGE_BYTES),
        ("grpc.so_reuseport", 0),  # or a second server could share the port, and clients would meet either
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _PING_MS),
    ]


class _Door:
    """Lets calls with the token in; others are refused before their message is read."""

    def __init__(self, grpc: ModuleType, actions: Mapping[str, Action], token: str) -> None:
        self._expected = f"Bearer {token}"
        self._refused = grpc.stream_unary_rpc_method_handler(
            lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")
        )

        def handler(action: Action) -> Any:
            return grpc.unary_unary_rpc_method_handler(lambda request, context: answer(action, request, context))

        methods = {name: handler(action) for name, action in actions.items()}
        self._handlers = grpc.method_handlers_generic_handler(wire.SERVICE, methods)

    def service(self, details: Any) -> Any:
        """Return what answers a call; gRPC asks when its metadata is there and its message is not."""
        given = next((value for key, value in details.invocation_metadata if key == access.TOKEN_KEY), "")
        if not access.same_token(str(given), self._expected):
            _log.warning("refused a call without the right token")
            return self._refused
        return self._handlers.service(details)
