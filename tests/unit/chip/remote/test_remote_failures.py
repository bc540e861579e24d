"""What a client is told when the far device, its server or the way there fails."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chiploop.chip.device import BatchTrace, Monitor
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.remote import RemoteDevice, client
from chiploop.chip.remote.server import DeviceServer
from chiploop.errors import (
    DesignRuleError,
    DeviceError,
    DeviceLostError,
    DeviceTimeoutError,
    QuantizeError,
    ReadoutError,
)
from chiploop.events.types import Events
from command_line import SOURCES
from served import TOKEN, Script, remote, without
from strategies_chip import (
    neuron,
    pulses,
)

PATIENCE_S = 60
"""After which a test that waits for another thread or process gives up."""


def test_signs_of_life_keep_a_session_and_end_with_the_device() -> None:
    signs = threading.Event()

    class Opened:
        def renew(self) -> None:
            signs.set()
            raise DeviceLostError("a sign that does not arrive is no error")

    before = set(threading.enumerate())
    device: Any = Opened()
    client._keep_alive(device, threading.Event(), 0.001)
    (thread,) = set(threading.enumerate()) - before
    assert signs.wait(PATIENCE_S)
    del device
    gc.collect()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


class Blocking(OracleDevice):
    """A device that is at work until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end, self.batches = threading.Event(), threading.Event(), 0

    def run_batch(self, batch: Sequence[Events], *, monitor: Monitor | None = None) -> BatchTrace:
        self.batches += 1
        self.begun.set()
        assert self.may_end.wait(PATIENCE_S)
        return super().run_batch(batch, monitor=monitor)


def test_a_call_that_takes_too_long_is_a_time_out_and_the_next_one_works() -> None:
    slow = Blocking()
    with remote(lambda: slow, timeout_s=1.0) as device:
        device.load(neuron(4))
        with pytest.raises(DeviceTimeoutError, match=r"did not answer RunBatch within 1 s"):
            device.run_batch([pulses([1])])
        with pytest.raises(DeviceTimeoutError):  # waits behind the first one, which is still at work
            device.run_batch([pulses([1, 2])])
        slow.may_end.set()
        assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]
        # Nobody waits for the second one any more: it is not run, unless it had left the queue when its client gave up.
        assert slow.batches in (2, 3)


SERVER = """
import sys, time
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.remote.server import DeviceServer

class Slow(OracleDevice):
    def run_batch(self, batch, *, monitor=None):
        print("running", flush=True)
        time.sleep(600)

with DeviceServer(Slow, token=sys.argv[1]) as server:
    print(server.address, flush=True)
    server.wait()
"""


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCES)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, TOKEN], env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    yield process
    process.kill()
    process.communicate()


def test_a_server_that_dies_in_mid_call_is_a_lost_device(other_process: subprocess.Popen[str]) -> None:
    assert other_process.stdout is not None
    address = other_process.stdout.readline().strip()
    with RemoteDevice(address, TOKEN) as device, ThreadPoolExecutor(1) as other:
        device.load(neuron(4))
        call = other.submit(device.run_batch, [pulses([1])])
        assert other_process.stdout.readline() == "running\n"
        other_process.send_signal(signal.SIGKILL)
        with pytest.raises(DeviceLostError, match=f"the remote device at {address} is gone"):
            call.result(PATIENCE_S)
        with pytest.raises(DeviceLostError):
            device.reset()
    with pytest.raises(DeviceLostError, match="is the server running"):
        RemoteDevice(address, TOKEN)


@pytest.mark.parametrize("error", [QuantizeError("layer 'fc1' dies"), DesignRuleError("too large"), ReadoutError("x")])
def test_errors_of_the_far_device_come_back_as_they_are(error: Exception) -> None:
    script = Script({0: error})
    with remote(script.open) as device:
        device.load(neuron(4))
        with pytest.raises(type(error), match=str(error)) as caught:
            device.run_batch([pulses([1])])
        assert type(caught.value) is type(error)
        assert device.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]


def test_a_fault_of_the_far_device_is_named_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    script = Script({0: ZeroDivisionError("by nought"), 1: DeviceError("y" * 100_000)})
    with remote(script.open) as device:
        device.load(neuron(4))
        with pytest.raises(DeviceError, match="the remote device failed: ZeroDivisionError: by nought"):
            device.run_batch([pulses([1])])
        assert "ZeroDivisionError" in caplog.text  # with its traceback, where the device is
        with pytest.raises(DeviceError, match=r"^y{4000}$"):
            device.run_batch([pulses([1])])
        device.run_batch([pulses([1])])


def test_a_board_that_was_unplugged_is_opened_again_for_the_next_session() -> None:
    script = Script({0: DeviceLostError("unplugged")})
    with DeviceServer(script.open, token=TOKEN) as server, RemoteDevice(server.address, TOKEN, owner="me") as device:
        device.load(neuron(4))
        with pytest.raises(DeviceLostError, match="unplugged"):
            device.run_batch([pulses([1])])
        assert (script.opened, script.closed) == (1, 1)
        with RemoteDevice(server.address, TOKEN, owner="me") as again:
            assert script.opened == 2
            again.load(neuron(4))
            assert again.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]


def test_an_answer_that_contradicts_itself_is_a_readout_error() -> None:
    monitor = Monitor(counts=("layer0",), window_edges_us=(0, 9))
    with remote(Script({0: without("counts", "layer0"), 1: without("counters", "layer0")}).open) as device:
        device.load(neuron(4))
        for kind in ("counts", "counters"):
            with pytest.raises(ReadoutError, match=rf"{kind} lack \['layer0'\]"):
                device.run_batch([pulses([1])], monitor=monitor)
        device.run_batch([pulses([1])], monitor=monitor)
