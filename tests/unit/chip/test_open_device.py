"""Devices by name."""

from __future__ import annotations

import pytest

from chiploop.chip.accelerator import Accelerator
from chiploop.chip.device import DEVICES
from chiploop.chip.open import device_opener, open_named, split_name
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError, DeviceLostError
from served import TOKEN
from strategies_chip import neuron, pulses


@pytest.mark.parametrize(
    ("name", "kind"), [("virtual", VirtualDevice), ("oracle", OracleDevice), ("accelerator", Accelerator)]
)
def test_a_device_is_opened_by_its_name(name: str, kind: type) -> None:
    opener = device_opener(name, threads=1)
    with opener() as one, opener() as other:
        assert type(one) is type(other) is kind
        assert one is not other


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("virtaul", r"no device 'virtaul': did you mean 'virtual'\?"),
        ("", "no device ''"),
        ("virtual:", "any other is its name alone"),
        ("oracle:127.0.0.1:80", "any other is its name alone"),
        ("remote", "a device elsewhere is remote:host:port"),
        ("remote:", "a device elsewhere is remote:host:port"),
        ("remotes:lab:1", "no device 'remotes': did you mean 'remote'"),
    ],
)
def test_a_name_that_is_none_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        device_opener(name)


def test_every_registered_device_has_a_name_of_its_own() -> None:
    for name in DEVICES.names():
        assert ":" not in name
        if name not in ("remote", "pool", "ray"):
            assert split_name(name) == (name, None)


def test_a_remote_device_is_opened_by_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPLOOP_REMOTE_TOKEN", TOKEN)
    with DeviceServer(VirtualDevice, token=TOKEN) as server:
        name = f"remote:{server.address}"
        with open_named(name, timeout_s=30.0) as device:
            device.load(neuron(4))
            assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]
        with pytest.raises(DeviceError, match="write host:port"):
            open_named("remote:lab")


def test_one_opener_takes_its_session_up_again_and_two_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPLOOP_REMOTE_TOKEN", TOKEN)
    with DeviceServer(VirtualDevice, token=TOKEN) as server:
        opener = device_opener(f"remote:{server.address}")
        with opener() as first:
            with pytest.raises(DeviceError, match="in use by another client"):
                open_named(f"remote:{server.address}")
            with opener(), pytest.raises(DeviceLostError):  # as after a connection that was cut
                first.load(neuron(4))
