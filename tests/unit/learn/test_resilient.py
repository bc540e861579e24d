"""A device that fails as a script says, behind the policy: the same bits, or an error at the right time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from chiploop.chip.accelerator import Accelerator
from chiploop.chip.device import BatchTrace, Device, Monitor
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceError, DeviceLostError, DeviceTimeoutError, ReadoutError
from chiploop.learn.failure import FailureLog, FailurePolicy
from chiploop.learn.resilient import ResilientDevice
from served import Fault, Script, without
from strategies_chip import chain_of, neuron, one_core, pulses, require_same_batch, require_same_trace

MONITOR = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=(0, 4, 9))
BATCH = [pulses([1, 2, 3], stop_us=9), pulses([], stop_us=9), pulses([0, 8], stop_us=9)]


def expected() -> BatchTrace:
    with VirtualDevice(threads=1) as device:
        device.load(neuron(6))
        return device.run_batch(BATCH, monitor=MONITOR)


def behind(script: Script, **policy: object) -> tuple[ResilientDevice, list[float]]:
    """The scripted device with a policy, and the pauses that it took."""
    pauses: list[float] = []
    log = FailureLog(FailurePolicy(**policy))  # type: ignore[arg-type]
    return ResilientDevice(script.open, log, sleep=pauses.append), pauses


def spoilt_counts(trace: BatchTrace) -> BatchTrace:
    return dataclasses.replace(trace, output_counts=trace.output_counts + 1)


RETRIED: dict[str, Fault] = {
    "time-out": DeviceTimeoutError("too slow"),
    "no readout": ReadoutError("nothing came"),
    "missing readout": without("counts", "layer0"),
    "wrong readout": spoilt_counts,
}


@pytest.mark.parametrize("fault", RETRIED)
def test_a_call_that_failed_is_made_again_and_gives_the_same(fault: str) -> None:
    script = Script({1: RETRIED[fault], 2: RETRIED[fault]})
    device, pauses = behind(script, retries=2, wait_s=0.5)
    with device:
        device.load(neuron(6))
        for _ in range(3):
            require_same_batch(device.run_batch(BATCH, monitor=MONITOR), expected())
    assert script.calls == 5
    assert (script.opened, script.closed) == (1, 1)
    assert script.loads == 3  # what a device holds after a failure is not relied on
    assert pauses == [0.5, 1.0]
    assert [entry.done for entry in device.log.entries] == ["retried", "retried"]
    kind = "DeviceTimeoutError" if fault == "time-out" else "ReadoutError"
    assert {entry.kind for entry in device.log.entries} == {kind}


def test_a_lost_device_is_opened_anew_and_given_its_program() -> None:
    script = Script({1: DeviceLostError("unplugged")})
    device, pauses = behind(script, wait_s=2.0)
    with device:
        device.load(neuron(6))
        for _ in range(2):
            require_same_batch(device.run_batch(BATCH, monitor=MONITOR), expected())
        assert (script.opened, script.closed, script.loads) == (2, 1, 2)
    assert pauses == [2.0]
    assert [(e.kind, e.message, e.done) for e in device.log.entries] == [("DeviceLostError", "unplugged", "reopened")]


def test_a_device_that_takes_a_while_to_come_back_is_waited_for() -> None:
    script = Script({0: DeviceLostError("rebooting")}, refuse_opening=2)
    device, pauses = behind(script, retries=3, wait_s=1.0)
    with device:
        device.load(neuron(6))
        require_same_batch(device.run_batch(BATCH, monitor=MONITOR), expected())
    assert script.opened == 4
    assert pauses == [1.0, 2.0, 4.0]
    assert [entry.done for entry in device.log.entries] == ["reopened"] * 3


def test_after_the_last_retry_the_failure_is_raised_and_the_next_call_starts_anew() -> None:
    faults: dict[int, Fault] = {n: DeviceTimeoutError(f"number {n}") for n in range(3)}
    device, _ = behind(Script(faults), retries=2)
    with device:
        device.load(neuron(6))
        with pytest.raises(DeviceTimeoutError, match=r"^number 2$"):
            device.run_batch(BATCH, monitor=MONITOR)
        assert [entry.message for entry in device.log.entries] == ["number 0", "number 1"]  # the last is the caller's
        require_same_batch(device.run_batch(BATCH, monitor=MONITOR), expected())


def test_without_reopening_a_lost_device_stays_lost() -> None:
    script = Script({0: DeviceLostError("unplugged")})
    device, pauses = behind(script, reopen=False)
    with device:
        device.load(neuron(6))
        for message in ("unplugged", "it is still gone"):
            with pytest.raises(DeviceLostError, match=message):
                device.run_batch(BATCH)
    assert (script.opened, pauses, device.log.entries) == (1, [], ())


@pytest.mark.parametrize("error", [DeviceError("refused"), ValueError("a fault of the code")])
def test_what_is_no_failure_of_the_device_is_not_retried(error: Exception) -> None:
    script = Script({0: error})
    device, _ = behind(script)
    with device:
        device.load(neuron(6))
        with pytest.raises(type(error)):
            device.run_batch(BATCH)
    assert (script.calls, device.log.entries) == (1, ())


def test_a_silent_network_is_no_failure() -> None:
    device, _ = behind(Script())
    with device:
        device.load(neuron(6))
        assert device.run_batch([pulses([], stop_us=9)], monitor=MONITOR).output_counts.tolist() == [[0]]
    assert device.log.entries == ()


def test_a_run_is_retried_from_reset_state() -> None:
    script = Script({0: DeviceTimeoutError("slow"), 2: DeviceLostError("gone")})
    device, _ = behind(script)
    with device, VirtualDevice(threads=1) as near:
        for one in (device, near):
            one.load(neuron(6))
        require_same_trace(device.run(pulses([1, 2])), near.run(pulses([1, 2])))
        device.reset()
        near.reset()
        require_same_trace(device.run(pulses([3])), near.run(pulses([3])))
    assert [entry.done for entry in device.log.entries] == ["retried", "reopened"]


@pytest.mark.parametrize("again", [lambda d: d.reset(), lambda d: d.load(neuron(6))])
def test_a_run_that_fails_in_mid_stream_is_not_gone_on_with(again: Callable[[Device], None]) -> None:
    """Retried from reset state it would answer as if nothing had come before."""
    script = Script({1: DeviceTimeoutError("slow")})
    device, _ = behind(script)
    with device:
        device.load(neuron(6))
        device.run(pulses([1]))
        with pytest.raises(DeviceTimeoutError):
            device.run(pulses([2]))
        with pytest.raises(DeviceError, match=r"states are gone: call reset\(\) or load\(program\)"):
            device.run(pulses([2]))
        again(device)
        assert len(device.run(pulses([1, 2])).outputs["layer0"]) == 1


def test_a_batch_that_fails_between_two_runs_ends_the_stream_too() -> None:
    device, _ = behind(Script({1: DeviceTimeoutError("slow")}))
    with device:
        device.load(neuron(6))
        device.run(pulses([1]))
        require_same_batch(device.run_batch(BATCH, monitor=MONITOR), expected())
        with pytest.raises(DeviceError, match="states are gone"):
            device.run(pulses([2]))


def test_without_failures_runs_and_batches_are_the_devices_own() -> None:
    device, _ = behind(Script())
    with device, VirtualDevice(threads=1) as near:
        for one in (device, near):
            one.load(neuron(6))
        require_same_trace(device.run(pulses([1])), near.run(pulses([1])))
        device.run_batch(BATCH)
        require_same_trace(device.run(pulses([2])), near.run(pulses([2])))  # on from the first
        assert device.info == near.info


def test_a_refused_program_leaves_the_one_before() -> None:
    opened: list[Accelerator] = []

    def open_device() -> Accelerator:
        opened.append(Accelerator())
        return opened[-1]

    wide = one_core(np.full((33, 64, 64, 1), 127, np.int8), (33, 64, 64))  # 135,168 products of 127 times 127
    with ResilientDevice(open_device) as device:
        device.load(neuron(6))
        with pytest.raises(DeviceError, match="past 32 bits"):
            device.load(chain_of(wide))
        assert device.run_batch([pulses([1, 2])]).output_counts.tolist() == [[12]]
    assert len(opened) == 1


def test_nothing_is_opened_before_it_is_needed() -> None:
    script = Script()
    device, _ = behind(script)
    device.close()
    assert script.opened == 0
    with pytest.raises(DeviceError, match="load"):
        device.run_batch(BATCH)
    device.close()
    assert (script.opened, script.closed) == (1, 1)
