"""`chiploop serve`: a device in a process of its own, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chiploop.chip.remote import RemoteDevice
from command_line import Command, finish, start
from served import TOKEN
from strategies_chip import neuron, pulses

Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def serve(tmp_path: Path, token_file: Path) -> Iterator[Serve]:
    """Start a server; what still runs at the end is ended."""
    started = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        started.append(start("serve", *arguments, "--token-file", token_file, folder=tmp_path))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def announced(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What --json says at the start."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            break
    found: dict[str, Any] = json.loads("".join(lines))
    return found


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_a_served_device_is_used_and_given_back(serve: Serve, request_to_stop: signal.Signals) -> None:
    process = serve("virtual", "--json")
    said = announced(process)
    assert (said["device"], said["tls"], said["address"].split(":")[0]) == ("virtual", False, "127.0.0.1")
    with RemoteDevice(said["address"], TOKEN) as device:
        device.load(neuron(4))
        assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]
    process.send_signal(request_to_stop)
    ended = finish(process)
    assert (ended.code, ended.out) == (0, "")  # the one object was all
    assert ended.err.splitlines() == ["a client has opened the device", "the client has closed the device", "stopped"]


def test_the_address_is_said_in_a_line_and_quiet_is_quiet(serve: Serve) -> None:
    process = serve("oracle", "--quiet")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("serving oracle on 127.0.0.1:")
    assert line.endswith(", not encrypted; Ctrl-C ends it\n")
    with RemoteDevice(line.split()[3].rstrip(","), TOKEN) as device:
        assert device.info.name == "oracle"
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


MISTAKES = {
    ("virtaul",): "no device 'virtaul': did you mean 'virtual'?",
    ("virtual:7070",): "a device elsewhere is remote:host:port, a pool is",
    ("remote:127.0.0.1:7070",): "is served elsewhere already",
    ("virtual", "--host", "0.0.0.0"): "0.0.0.0 is not this machine, and without TLS anyone on the way",
    ("virtual", "--cert", "cert.pem"): "a certificate and its key go together",
    ("virtual", "--cert", "gone.pem", "--key", "gone.pem"): "cannot read the key gone.pem",
    ("virtual", "--port", "70000"): "less than or equal to 65535",
    ("virtual", "--token", TOKEN): "No such option",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_one_line(chiploop: Command, token_file: Path, arguments: tuple[str, ...]) -> None:
    ran = chiploop("serve", *arguments, "--token-file", token_file)
    assert ran.code == 2
    assert MISTAKES[arguments] in ran.error


def test_without_a_token_nothing_is_served(
    chiploop: Command, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHIPLOOP_REMOTE_TOKEN", raising=False)
    assert "needs a token that both ends share" in chiploop("serve", "virtual").error
    token_file.chmod(0o644)
    assert "chmod 600" in chiploop("serve", "virtual", "--token-file", token_file, "--json").json["error"]
