"""Devices in processes of their own: killed in the middle, they cost time and no bit."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import ModuleType

import pytest

from chiploop.chip.actors import ActorDevice
from chiploop.chip.open import open_named
from chiploop.chip.pool import DevicePool
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError, DeviceLostError, DeviceTimeoutError
from chiploop.events.types import Events, SensorShape
from chiploop.rng import stream
from strategies_chip import neuron, pulses, random_events, random_program, require_same_batch
from worker_processes import living, pids_of

pytestmark = pytest.mark.usefixtures("ray")


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while living(*pids):
        time.sleep(0.01)


def host_pids(before: set[int]) -> list[int]:
    return sorted(pids_of("Host") - before)


def test_a_killed_process_is_a_lost_device() -> None:
    before = pids_of("Host")
    with ActorDevice("virtual") as device:
        device.load(neuron(4))
        (pid,) = host_pids(before)
        kill(pid)
        with pytest.raises(DeviceLostError, match=r"the process of ray:virtual is gone in run_batch: open it anew"):
            device.run_batch([pulses([1])])


def test_a_batch_survives_the_death_of_a_process_in_its_midst() -> None:
    rng = stream(0, "actors")
    program = random_program(rng)
    batch = [random_events(rng, program.input_shape) for _ in range(9)]
    with VirtualDevice(threads=1) as device:
        device.load(program)
        alone = device.run_batch(batch)
    before = pids_of("Host")
    with open_named("ray:3xvirtual") as pool:
        pool.load(program)
        victim = host_pids(before)[1]
        os.kill(victim, signal.SIGSTOP)  # so that it has its part, and has not answered, when it dies
        killer = threading.Timer(0.3, os.kill, (victim, signal.SIGKILL))
        killer.start()
        require_same_batch(pool.run_batch(batch), alone)
        killer.join()
        assert pool.info.name == "pool of 3 x ray:virtual (1 out, failures: 1)"
        pool.load(program)
        assert pool.info.name == "pool of 3 x ray:virtual (0 out, failures: 1)"
        assert len(host_pids(before)) == 3
        require_same_batch(pool.run_batch(batch), alone)


def test_errors_come_as_what_they_are() -> None:
    with pytest.raises(DeviceError, match=r"no device 'virtaul': did you mean 'virtual'"):
        ActorDevice("virtaul")
    with ActorDevice("virtual") as device:
        device.load(neuron(4))
        with pytest.raises(DeviceError, match=r"\(2, 3, 4\).*\(1, 1, 1\)") as found:
            device.run(Events.empty(SensorShape(2, 3, 4)))
        assert type(found.value) is DeviceError


def test_a_call_has_a_deadline() -> None:
    before = pids_of("Host")
    with ActorDevice("virtual", timeout_s=0.2) as device:
        (pid,) = host_pids(before)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(DeviceTimeoutError, match=r"ray:virtual did not answer load within 0.2 s"):
            device.load(neuron(4))
        os.kill(pid, signal.SIGCONT)
    while living(pid):  # its process ends with it
        time.sleep(0.01)


def test_a_pool_of_one_is_the_device_itself(ray: ModuleType) -> None:
    with open_named("ray:oracle") as device:
        assert not isinstance(device, DevicePool)
        assert device.info.name == "oracle"
