"""The device contract, word for word, for a Speck board: here a fake one behind the vendor's interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import test_device as contract

from chiploop.chip.device import DEVICES, Device
from chiploop.chip.hardware import SpeckDevice
from fake_board import Board
from strategies_board import board_program, connect

test_two_chunks_equal_the_whole = contract.test_two_chunks_equal_the_whole
test_reset_and_load_bring_back_the_fresh_state = contract.test_reset_and_load_bring_back_the_fresh_state
test_a_batch_is_its_streams_from_reset = contract.test_a_batch_is_its_streams_from_reset_and_leaves_the_run_alone
test_counters_agree_with_what_is_seen = contract.test_counters_agree_with_what_is_seen
test_scaling_leaves_spikes_alone = contract.test_scaling_weight_threshold_and_floor_leaves_spikes_alone
test_an_empty_batch_and_an_empty_stream = contract.test_an_empty_batch_and_an_empty_stream
test_windows_past_the_last_event_hold_its_state = contract.test_windows_past_the_last_event_hold_its_state
test_nothing_runs_before_load_or_after_close = contract.test_nothing_runs_before_load_or_after_close
test_a_stream_of_another_shape_is_refused = contract.test_a_stream_of_another_shape_is_refused_with_both_shapes
test_windows_that_miss_events_are_refused = contract.test_windows_that_miss_events_are_refused
test_a_layer_the_program_lacks_is_refused = contract.test_a_layer_the_program_lacks_is_refused
test_a_batch_reports_no_spike_events = contract.test_a_batch_reports_no_spike_events
test_a_refused_run_leaves_the_state_alone = contract.test_a_refused_run_leaves_the_state_alone


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    connect(Board(keeps_states=True), monkeypatch)
    monkeypatch.setattr(contract, "random_program", board_program)
    with SpeckDevice(slow_potentials=True) as opened:
        yield opened


@pytest.fixture
def any_device(device: Device) -> Device:
    return device


def test_a_board_is_registered() -> None:
    assert DEVICES.get("speck") is SpeckDevice


def test_info_says_that_it_is_a_board(device: Device) -> None:
    info = device.info
    assert (info.name, info.kind, info.deterministic) == ("speck", "board", False)
    assert info.observes == {"counts", "potentials", "spikes"}
    assert SpeckDevice().info.observes == {"counts", "spikes"}
