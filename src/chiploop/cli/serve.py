"""`chiploop serve`: a device for training loops in other processes and on other hosts."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from chiploop.cli.console import print_json, say
from chiploop.cli.options import JsonOption, QuietOption
from chiploop.errors import DeviceError

EXAMPLES = (
    "Examples:\n\n  chiploop serve virtual --token-file token\n\n"
    "  chiploop serve virtual --host 0.0.0.0 --port 7070 --token-file token --cert cert.pem --key key.pem\n\n"
    'A recipe uses it as chip.device = "remote:host:port", with the token in $CHIPLOOP_REMOTE_TOKEN. Ctrl-C ends it.'
)


def command(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="A device (chiploop ls devices).")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than this machine's need TLS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="File with the token that clients give. Default: $CHIPLOOP_REMOTE_TOKEN."),
    ] = None,
    cert: Annotated[Path | None, typer.Option("--cert", help="Certificate for TLS, a PEM file.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="Its private key, a PEM file.")] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="No TLS though others listen: whoever reads the token can take the device."),
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Serve a device to clients elsewhere, one at a time, to those who know the token."""
    from chiploop.chip.open import REMOTE, device_opener, split_name
    from chiploop.chip.remote.server import DeviceServer

    if split_name(device)[0] == REMOTE:
        raise DeviceError(f"device {device!r} is served elsewhere already: connect to it there")
    opener = device_opener(device)
    server = DeviceServer(opener, host=host, port=port, token_file=token_file, cert=cert, key=key, insecure=insecure)
    # A service manager's request to stop gives the device back as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with server:
            _log_to_stderr(logging.ERROR if quiet else logging.INFO)
            _announce(device, server.address, encrypted=cert is not None, as_json=as_json)
            server.wait()
    except KeyboardInterrupt:
        if not quiet:
            say("stopped")
    finally:
        signal.signal(signal.SIGTERM, before)
    if not server.given_back:
        # A thread is inside the device and would hold up the interpreter's end for as long as it is.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _log_to_stderr(level: int) -> None:
    """Show who comes and goes, and who is refused."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("chiploop")
    logger.addHandler(handler)
    logger.setLevel(level)


def _announce(device: str, address: str, *, encrypted: bool, as_json: bool) -> None:
    if as_json:
        print_json({"device": device, "address": address, "tls": encrypted})
    else:
        print(f"serving {device} on {address}, {'with TLS' if encrypted else 'not encrypted'}; Ctrl-C ends it")
    sys.stdout.flush()
