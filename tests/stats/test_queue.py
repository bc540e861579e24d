"""The timed model as a queue, held against queueing theory."""

from __future__ import annotations

import numpy as np
import pytest

from chiploop.chip.oracle_timed import TimedOracle
from chiploop.chip.program import DEAD
from chiploop.rng import stream
from small_chips import timing
from strategies_chip import chain_of, one_core, pulses


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_mean_waiting_time_of_a_queue_with_poisson_arrivals_and_constant_service(load: float) -> None:
    # Pollaczek and Khinchine: W = rho s / (2 (1 - rho)). 30 runs of 1500 events; bounded at five standard errors of the
    # mean over the runs. Times are rounded to 1 us, s = 500 us; the start from an empty queue costs far less than an
    # error: some s / (1 - rho)^2 of 1500 s / rho.
    rng, service_us, n_runs, n = stream(0, "queue", round(10 * load)), 500, 30, 1500
    device = TimedOracle(timing(100_000, 100_000))  # four updates
    device.load(chain_of(one_core(np.full((1, 1, 1, 4), 1, np.int8), (1, 1, 1), thresholds=np.full((4, 1, 1), DEAD))))
    waits = []
    for _ in range(n_runs):
        times = np.floor(np.cumsum(rng.exponential(service_us / load, n))).astype(np.int64)
        device.reset()
        done = device.run(pulses(times.tolist())).timing.load["layer0"]
        assert done.busy_ns == n * service_us * 1000
        waits.append(done.wait_ns / n / 1000)
    expected = load * service_us / (2 * (1 - load))
    error = float(np.std(waits, ddof=1)) / n_runs**0.5
    assert error < 0.04 * expected  # so that five of them tell this queue from others
    assert abs(float(np.mean(waits)) - expected) < 5 * error
