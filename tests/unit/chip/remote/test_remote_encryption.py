"""With a certificate: everything is encrypted, and only a server that has it is trusted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chiploop.chip.remote import RemoteDevice
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import (
    DeviceError,
    DeviceLostError,
)
from served import TOKEN
from strategies_chip import (
    neuron,
    pulses,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, made now, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    line = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert),
    ]  # fmt: skip
    try:
        subprocess.run(line, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"openssl makes no certificate here: {error}")
    return cert, key


def test_with_a_certificate_everything_is_encrypted(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = certificate
    with DeviceServer(VirtualDevice, token=TOKEN, cert=cert, key=key) as server:
        with RemoteDevice(server.address, TOKEN, cert=cert) as device:
            device.load(neuron(4))
            assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]
        with pytest.raises(DeviceError, match="refused the token"):
            RemoteDevice(server.address, TOKEN + "x", cert=cert)
        with pytest.raises(DeviceLostError, match="is gone"):  # in clear: not understood
            RemoteDevice(server.address, TOKEN)
        monkeypatch.setenv("CHIPLOOP_REMOTE_CERT", str(cert))
        monkeypatch.setenv("CHIPLOOP_REMOTE_TOKEN", TOKEN)
        with RemoteDevice(server.address) as device:
            assert device.info.name == "virtual"


def test_a_server_without_the_certificate_is_not_trusted(certificate: tuple[Path, Path]) -> None:
    with DeviceServer(VirtualDevice, token=TOKEN) as server, pytest.raises(DeviceLostError, match="is gone"):
        RemoteDevice(server.address, TOKEN, cert=certificate[0])


def test_a_key_of_another_certificate_is_refused(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(other)],
        check=True,
        capture_output=True,
    )
    with pytest.raises(DeviceError, match="do not belong together"):
        DeviceServer(VirtualDevice, token=TOKEN, cert=certificate[0], key=other)
