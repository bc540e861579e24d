"""Tokens that are none, addresses that are none, and what may cross a network in clear."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chiploop.chip.remote import RemoteDevice, access
from chiploop.chip.remote.access import is_loopback, join_address, read_token, require_protected, split_address
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError
from served import TOKEN

GOOD = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (access.TOKEN_VARIABLE, access.CERT_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_the_nearest_token_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPLOOP_REMOTE_TOKEN", "from-the-environment")
    file = secret(tmp_path / "token", f"{GOOD}\n")
    assert read_token() == "from-the-environment"
    assert read_token(None, file) == GOOD
    assert read_token("given-by-the-caller", file) == "given-by-the-caller"


def test_without_a_token_there_is_no_device(tmp_path: Path) -> None:
    for start in (lambda: DeviceServer(VirtualDevice), lambda: RemoteDevice("127.0.0.1:1"), read_token):
        with pytest.raises(DeviceError, match=r"needs a token that both ends share.*CHIPLOOP_REMOTE_TOKEN"):
            start()
    with pytest.raises(DeviceError, match="needs a token"):
        read_token(None, secret(tmp_path / "empty", "\n"))


@pytest.mark.parametrize("token", ["short", GOOD[:15], f"{GOOD} ", f"{GOOD}\n", f"{GOOD}é", "with a space in it"])
def test_a_weak_or_odd_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(DeviceError, match="at least 16 printable ASCII characters") as caught:
        read_token(token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(DeviceError, match=r"others can read or change.*chmod 600"):
        read_token(None, secret(tmp_path / "token", GOOD, mode))


def test_a_token_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"cannot read the token in .*gone: No such file"):
        read_token(None, tmp_path / "gone")
    with pytest.raises(DeviceError, match="no ASCII text"):
        read_token(None, secret(tmp_path / "token", f"{GOOD}é"))


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:7070", ("127.0.0.1", 7070)),
        ("lab.example:1", ("lab.example", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_addresses(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts
    assert join_address(*parts) == address


@pytest.mark.parametrize(
    "address",
    ["", "lab", "lab:", ":7070", "lab:0", "lab:65536", "lab:x", "::1:7070", "[::1]", "http://lab:1", "a b:1", "l:-1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(DeviceError, match="write host:port, such as"):
        split_address(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)
    require_protected(host, encrypted=False, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "lab.example", "localhost.example", "128.0.0.1", ""])
def test_any_other_host_wants_tls_or_an_explicit_word(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(DeviceError, match=r"without TLS anyone on the way could read the token.*insecure=True"):
        require_protected(host, encrypted=False, insecure=False)
    require_protected(host, encrypted=True, insecure=False)
    require_protected(host, encrypted=False, insecure=True)


def test_neither_end_takes_a_token_in_clear_from_elsewhere() -> None:
    """Nothing is sent and no port is opened: the refusal comes first."""
    with pytest.raises(DeviceError, match="is not this machine"):
        RemoteDevice("lab.example:7070", TOKEN)
    with pytest.raises(DeviceError, match="is not this machine"):
        DeviceServer(VirtualDevice, token=TOKEN, host="0.0.0.0")


def test_certificates_come_in_pairs_and_in_pem(tmp_path: Path) -> None:
    (tmp_path / "cert").write_text("no PEM")
    with pytest.raises(DeviceError, match="go together"):
        DeviceServer(VirtualDevice, token=TOKEN, cert=tmp_path / "cert")
    with pytest.raises(DeviceError, match=r"cannot read the key .*gone"):
        DeviceServer(VirtualDevice, token=TOKEN, cert=tmp_path / "cert", key=tmp_path / "gone")
    with pytest.raises(DeviceError, match=r"the certificate .* is not in PEM format"):
        RemoteDevice("lab.example:7070", TOKEN, cert=tmp_path / "cert")


def test_a_missing_grpc_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    for start in (lambda: DeviceServer(VirtualDevice, token=TOKEN), lambda: RemoteDevice("127.0.0.1:1", TOKEN)):
        with pytest.raises(DeviceError, match=r"pip install 'chiploop\[remote\]'"):
            start()
