"""A remote device is the far one bit for bit, for the one client that knows the token."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings

from chiploop.chip.accelerator import Accelerator
from chiploop.chip.device import Monitor
from chiploop.chip.remote import RemoteDevice, client, wire
from chiploop.chip.remote.server import DeviceServer
from chiploop.chip.remote.service import Service
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import (
    DeviceError,
    DeviceLostError,
)
from chiploop.rng import stream
from served import TOKEN, Script, remote
from strategies_chip import (
    affordable,
    neuron,
    pulses,
    random_events,
    random_monitor,
    random_program,
    require_same_batch,
    require_same_trace,
    seeds,
)

few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def far() -> Iterator[RemoteDevice]:
    with remote() as device:
        yield device


@few
@given(seed=seeds)
def test_every_answer_is_the_far_devices_bit_for_bit(far: RemoteDevice, seed: int) -> None:
    rng = stream(seed, "remote")
    program = random_program(rng)
    batch = [affordable(program, random_events(rng, program.input_shape), 2_000) for _ in range(3)]
    layers = tuple(core.layer for core in program.cores)
    monitor = Monitor(counts=layers, potentials=layers, window_edges_us=(0, 5, 10**6))
    single = random_monitor(rng, program, batch[0])
    with VirtualDevice(threads=1) as near:
        for device in (near, far):
            device.load(program)
        for _ in range(2):  # the second run goes on from the first one's states, over the batch in between
            require_same_trace(far.run(batch[0], monitor=single), near.run(batch[0], monitor=single))
            found, expected = (device.run_batch(batch, monitor=monitor) for device in (far, near))
            require_same_batch(found, expected)
            for layer in layers:
                assert found.counts[layer].strides == expected.counts[layer].strides
        far.reset()
        near.reset()
        require_same_trace(far.run(batch[1]), near.run(batch[1]))


def test_a_large_batch_goes_in_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = stream(3, "pieces")
    batch = [pulses(sorted(rng.integers(0, 90, 20).tolist())) for _ in range(9)]
    monitor = Monitor(counts=("layer0",), potentials=("layer0",), window_edges_us=(0, 40, 100))
    script = Script()
    monkeypatch.setattr(client, "pieces_of", functools.partial(client.pieces_of, limit=700))
    with remote(script.open) as far, VirtualDevice(threads=1) as near:
        for device in (near, far):
            device.load(neuron(6))
        require_same_batch(far.run_batch(batch, monitor=monitor), near.run_batch(batch, monitor=monitor))
        assert script.calls == 5  # 48 + 20 * 14 bytes a stream: two a call
        with pytest.raises(DeviceError, match=r"do not cover|windows cover.*from stream 8 on"):
            far.run_batch([*batch[:8], pulses([200])], monitor=monitor)


def test_an_accelerator_can_be_remote() -> None:
    with remote(Accelerator) as far, Accelerator() as near:
        for device in (far, near):
            device.load(neuron(-7))
        batch = [pulses([1, 2]), pulses([])]
        assert far.info == dataclasses.replace(near.info, elsewhere=True)
        require_same_batch(far.run_batch(batch), near.run_batch(batch))
        assert far.run(batch[0]).metrics == {"logit_0": -14.0}


def test_only_the_right_token_gets_in() -> None:
    with DeviceServer(VirtualDevice, token=TOKEN) as server:
        for token in (TOKEN[:-1] + "x", TOKEN + "x", TOKEN.upper()):
            with pytest.raises(DeviceError, match="refused the token"):
                RemoteDevice(server.address, token)
        with RemoteDevice(server.address, TOKEN) as device:
            assert device.info.name == "virtual"


@pytest.mark.parametrize("metadata", [None, (("authorization", TOKEN),), (("authorization", "Bearer "),)])
@pytest.mark.parametrize("method", ["Open", "RunBatch", "Nothing"])
def test_a_call_without_the_token_is_refused_whatever_it_says(method: str, metadata: Any) -> None:
    with DeviceServer(VirtualDevice, token=TOKEN) as server, grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"/{wire.SERVICE}/{method}")(b"\xff" * 1000, timeout=60, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_second_client_is_told_and_served_afterwards() -> None:
    script = Script()
    with DeviceServer(script.open, token=TOKEN) as server:
        with RemoteDevice(server.address, TOKEN) as first:
            first.load(neuron(4))
            with pytest.raises(DeviceError, match="in use by another client"):
                RemoteDevice(server.address, TOKEN)
            assert first.run_batch([pulses([1, 2, 3])]).output_counts.tolist() == [[1]]
        assert script.resets == 1  # between sessions
        with RemoteDevice(server.address, TOKEN) as second:
            with pytest.raises(DeviceError, match=r"no program of this session: call load\(program\) first"):
                second.run_batch([pulses([1, 2, 3])])
            second.load(neuron(4))
            second.run(pulses([1]))
    assert (script.opened, script.closed) == (1, 1)  # one device for all of them


def test_the_same_owner_takes_its_own_place() -> None:
    with DeviceServer(VirtualDevice, token=TOKEN) as server:
        cut = RemoteDevice(server.address, TOKEN, owner="me")
        cut.load(neuron(4))
        with RemoteDevice(server.address, TOKEN, owner="me") as again:
            with pytest.raises(DeviceLostError, match="session on the remote device has ended"):
                cut.run(pulses([1]))
            cut.close()  # ends nobody else's session
            again.load(neuron(4))


def test_a_closed_device_says_so() -> None:
    with remote() as device:
        device.load(neuron(1))
    device.close()
    for action in (lambda: device.run(pulses([1])), lambda: device.run_batch([]), device.reset):
        with pytest.raises(DeviceError, match=r"closed: open it anew and load"):
            action()


def test_a_port_in_use_is_said_so() -> None:
    with DeviceServer(VirtualDevice, token=TOKEN) as server:
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(DeviceError, match=rf"cannot listen on 127\.0\.0\.1:{port}: the port is in use"):
            DeviceServer(VirtualDevice, token=TOKEN, port=port)


def test_a_device_that_does_not_open_is_said_at_the_start() -> None:
    def refuse() -> VirtualDevice:
        raise DeviceError("no board is plugged in")

    with pytest.raises(DeviceError, match="no board is plugged in"), DeviceServer(refuse, token=TOKEN):
        pass


def test_every_verb_of_the_service_has_its_call() -> None:
    """One list of methods, on both sides."""
    verbs = {"Open", "Renew", "Load", "Run", "RunBatch", "Reset", "Close"}
    service = Service(VirtualDevice, None)  # type: ignore[arg-type]
    assert set(service.actions) == verbs
