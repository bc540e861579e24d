"""What every test runs under: one thread, fixed seeds, no network; and fixtures for every room's tests."""

from __future__ import annotations

import os
import random
import socket
import sys
from pathlib import Path

# Before numpy and torch are imported, which read them once: two threads would sum in another order.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

SEED = 0

# The same examples in every run; and no deadline, since a busy machine is no reason to fail.
settings.register_profile("chiploop", derandomize=True, deadline=None)
settings.load_profile("chiploop")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Seed the global generators: nothing of ours draws from them, but a library's default might."""
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test that reaches for the network fail, unless it is marked for it."""
    if request.node.get_closest_marker("network") is not None:
        return

    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family != socket.AF_UNIX:  # which never leaves the machine
            raise AssertionError(f"a test without the marker 'network' connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Return the folder of real data, or skip."""
    root = os.environ.get("CHIPLOOP_DATA")
    if not root:
        pytest.skip("set CHIPLOOP_DATA to the folder that holds the real data sets")
    return Path(root)


@pytest.fixture(scope="session")
def ray() -> Iterator[ModuleType]:
    """Ray on this machine with two processors, started once: it takes seconds."""
    from chiploop.cluster.session import session

    with session(cpus=2) as started:
        yield started
