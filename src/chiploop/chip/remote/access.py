"""Who may reach a device over a wire: addresses, the shared token, and what protects it on its way."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
import stat
from pathlib import Path
from types import ModuleType

from chiploop.errors import DeviceError

TOKEN_VARIABLE = "CHIPLOOP_REMOTE_TOKEN"
CERT_VARIABLE = "CHIPLOOP_REMOTE_CERT"
TOKEN_KEY = "authorization"
"""Metadata that carries the token, as `Bearer <token>`."""

MIN_TOKEN = 16
"""Characters of the shortest token: 64 bits, if it is random hexadecimal digits."""

_MAX_PORT = 65535
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


def read_token(token: str | None = None, path: Path | None = None) -> str:
    """Return the shared token: as given, else from the file, else from $CHIPLOOP_REMOTE_TOKEN.

    Raises DeviceError when there is none, when it is short or unprintable, and when others can read the file.
    """
    where = "the token"
    if token is None and path is not None:
        token, where = _read_secret(path), f"the token in {path}"
    elif token is None:
        token, where = os.environ.get(TOKEN_VARIABLE), f"${TOKEN_VARIABLE}"
    if not token:
        raise DeviceError(
            f"a remote device needs a token that both ends share: put one into a file only you can read, or into "
            f"${TOKEN_VARIABLE} (such as the output of `openssl rand -hex 32`)"
        )
    if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise DeviceError(f"{where} must be at least {MIN_TOKEN} printable ASCII characters without spaces")
    return token


def default_cert() -> Path | None:
    """Return the certificate that $CHIPLOOP_REMOTE_CERT names, if it names one."""
    named = os.environ.get(CERT_VARIABLE)
    return Path(named) if named else None


def _read_secret(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise DeviceError(f"others can read or change the token in {path}: chmod 600 {path}")
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise DeviceError(f"cannot read the token in {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DeviceError(f"the token in {path} is no ASCII text") from error


def same_token(given: str, token: str) -> bool:
    """Whether two tokens are the same, in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode(), token.encode())


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 host stands in brackets.

    >>> split_address("[::1]:7070")
    ('::1', 7070)
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= _MAX_PORT:
        raise DeviceError(f"address {address!r}: write host:port, such as 127.0.0.1:7070 or [::1]:7070")
    return match["host"].strip("[]"), int(match["port"])


def join_address(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host stays on this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("lab.example")
    (True, True, False, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_protected(host: str, *, encrypted: bool, insecure: bool) -> None:
    """Raise DeviceError where the token would cross a network in clear, unless that was asked for by name."""
    if not (encrypted or insecure or is_loopback(host)):
        raise DeviceError(
            f"{host} is not this machine, and without TLS anyone on the way could read the token and take the device: "
            "give a certificate (and the server its key), tunnel to 127.0.0.1 (such as with ssh -L), "
            "or pass insecure=True on a network that you trust"
        )


def read_pem(path: Path, what: str) -> bytes:
    """Return a certificate's or a key's file; DeviceError when it cannot be read or is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DeviceError(f"cannot read the {what} {path}: {error.strerror or error}") from error
    if b"-----BEGIN" not in content:
        raise DeviceError(f"the {what} {path} is not in PEM format")
    return content


def import_grpc() -> ModuleType:
    """Return the package grpc; DeviceError that names the extra when it is not installed."""
    try:
        import grpc
    except ImportError as error:
        raise DeviceError(f"remote devices need grpcio: pip install 'chiploop[remote]' ({error})") from error
    module: ModuleType = grpc
    return module
