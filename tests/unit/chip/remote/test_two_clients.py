"""A session that has ended costs the client after it nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chiploop import tree
from chiploop.chip.device import Device
from chiploop.chip.remote import wire
from chiploop.chip.remote.lease import Lease
from chiploop.chip.remote.service import Service
from chiploop.chip.virtual import VirtualDevice
from chiploop.errors import DeviceLostError
from strategies_chip import neuron

LEASE_S = 30.0


class Waiting:
    """A call whose client waits on."""

    def time_remaining(self) -> float | None:
        return None

    def is_active(self) -> bool:
        return True


def test_a_client_whose_lease_has_lapsed_leaves_the_next_ones_device_alone() -> None:
    now = [0.0]
    opened: list[Device] = []

    def open_device() -> Device:
        opened.append(VirtualDevice(threads=1))
        return opened[-1]

    service = Service(open_device, Lease(LEASE_S, clock=lambda: now[0]))

    def ask(verb: str, **fields: object) -> Mapping[str, Any]:
        return service.actions[verb](wire.unpack(wire.pack(**fields)), Waiting())

    program = tree.to_bytes(neuron(4))
    first = ask("Open", owner="one")["session"]
    ask("Load", session=first, program=program)
    now[0] += LEASE_S + 1
    second = ask("Open", owner="two")["session"]
    ask("Load", session=second, program=program)
    for late in (lambda: ask("Reset", session=first), lambda: ask("Load", session=first, program=program)):
        with pytest.raises(DeviceLostError, match="session on the remote device has ended"):
            late()
        ask("Reset", session=second)  # its program is still there
    assert len(opened) == 1


def test_a_device_at_work_is_left_and_does_not_hold_up_the_end() -> None:
    service = Service(lambda: VirtualDevice(threads=1), Lease())
    service.info()
    assert service.close(patience_s=0.01)
    with service._busy:  # as while a call is being carried out
        assert not service.close(patience_s=0.01)
