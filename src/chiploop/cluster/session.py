"""Ray, started quietly for this process alone, or joined where it runs already."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

from chiploop.errors import ClusterError

REACH_S = 10.0
"""How long a cluster's machine may take to take up a connection."""
_HERE = "127.0.0.1"
"""A cluster of our own listens to this machine alone, and nobody is asked which address it has."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # or Ray would report its use to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or it would warn that a default of its will change
}
_TOKEN, _MODE = "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"
_OUR_TOKEN = secrets.token_hex(32)
"""Without one, every user of this machine could have our cluster run code; given here, Ray leaves none in a file."""
_connecting = threading.Lock()


def has_ray() -> bool:
    """Whether Ray is installed; it is not imported to find out."""
    return find_spec("ray") is not None


def import_ray() -> ModuleType:
    """Return the package ray, told to be quiet; ClusterError that names the extra when it is not installed."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)  # read at the import
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            f"several processes or machines need Ray: pip install 'chiploop[cluster]' ({error})"
        ) from error
    module: ModuleType = ray
    return module


def connect(address: str | None = None, *, cpus: int | None = None) -> tuple[ModuleType, bool]:
    """Return Ray, connected, and whether this call did it.

    `address` is "auto" or ray://host:port of a cluster that runs; without one, and without $RAY_ADDRESS, Ray is started
    on this machine with `cpus` processors (None: all) and ends with this process. A connection that is there already
    is used as it is. Raises ClusterError when there is no such cluster.
    """
    ray = import_ray()
    with _connecting:  # devices of a pool are opened by several threads
        if ray.is_initialized():
            return ray, False
        address = address or os.environ.get("RAY_ADDRESS") or None
        try:
            if address is None:
                _start(ray, cpus)
            else:
                _require_listener(address)
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (RuntimeError, ValueError, OSError, ImportError) as error:
            what = "Ray cannot be started here" if address is None else f"no Ray cluster answers at {address!r}"
            raise ClusterError(f"{what}: {_first_line(error)}") from error
    return ray, True


@contextmanager
def session(address: str | None = None, *, cpus: int | None = None) -> Iterator[ModuleType]:
    """Yield Ray, connected as `connect` does; what was connected for the block is given up after it."""
    ray, ours = connect(address, cpus=cpus)
    try:
        yield ray
    finally:
        if ours:
            disconnect()


def disconnect() -> None:
    """Leave the cluster; one that was started here ends, with all of its processes."""
    import_ray().shutdown()
    if os.environ.get(_TOKEN) == _OUR_TOKEN:  # which is no business of another cluster
        del os.environ[_TOKEN]
        os.environ.pop(_MODE, None)  # Ray set it when it found the token


def largest_node(ray: ModuleType) -> int:
    """Return the processors of the largest machine in the cluster: no task gets more of them."""
    counts = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    return max(1, int(max(counts, default=1)))


def _start(ray: ModuleType, cpus: int | None) -> None:
    os.environ.setdefault(_TOKEN, _OUR_TOKEN)
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        num_cpus=cpus,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        logging_level=logging.ERROR,
        _node_ip_address=_HERE,
    )


def _require_listener(address: str) -> None:
    """Raise OSError now where nobody listens: Ray would ask again and again, for minutes."""
    host, sign, port = address.rpartition("://")[2].rpartition(":")
    if sign and port.isdigit():  # else it is a word such as "auto", and Ray knows what it means
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S).close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
