"""One client at a time, against a clock that the test turns."""

from __future__ import annotations

import pytest

from chiploop.chip.remote.lease import Lease
from chiploop.errors import DeviceError, DeviceLostError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(clock: Clock) -> Lease:
    return Lease(30.0, clock=clock)


def test_a_second_client_waits_until_the_first_has_closed(lease: Lease, clock: Clock) -> None:
    first = lease.take("one")
    clock.now += 20.0
    with pytest.raises(DeviceError, match=r"in use by another client.*at most 10 s"):
        lease.take("two")
    assert lease.end(first)
    second = lease.take("two")
    assert second != first
    assert not lease.end(first)  # ends nobody else's session
    lease.renew(second)


def test_a_client_that_is_silent_can_be_replaced_at_the_end_of_its_lease(lease: Lease, clock: Clock) -> None:
    first = lease.take("one")
    clock.now += 29.9
    lease.renew(first)
    clock.now += 29.9
    with pytest.raises(DeviceError, match="in use"):
        lease.take("two")
    clock.now += 0.1
    lease.renew(first)  # late, but nobody came
    clock.now += 30.0
    lease.take("two")
    for verb in (lease.renew, lease.loaded, lease.require_loaded):
        with pytest.raises(DeviceLostError, match="has ended"):
            verb(first)


def test_a_client_that_was_cut_off_takes_its_own_place(lease: Lease) -> None:
    first = lease.take("one")
    again = lease.take("one")
    with pytest.raises(DeviceLostError):
        lease.renew(first)
    lease.renew(again)


def test_a_session_does_not_meet_the_program_of_another(lease: Lease) -> None:
    first = lease.take("one")
    with pytest.raises(DeviceError, match=r"call load\(program\) first"):
        lease.require_loaded(first)
    lease.loaded(first)
    lease.require_loaded(first)
    again = lease.take("one")
    with pytest.raises(DeviceError, match=r"call load\(program\) first"):
        lease.require_loaded(again)


def test_no_session_is_none() -> None:
    with pytest.raises(DeviceLostError):
        Lease().renew("")
    assert not Lease().end("")
