"""Fixtures for every room's tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Return the folder of real data, or skip."""
    root = os.environ.get("CHIPLOOP_DATA")
    if not root:
        pytest.skip("set CHIPLOOP_DATA to the folder that holds the real data sets")
    return Path(root)
