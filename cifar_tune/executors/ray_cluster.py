"""The connection to a Ray cluster, and what it has room for. Imported with `--engine ray` alone."""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from math import floor
from pathlib import Path

import ray

from cifar_tune.errors import Problem, UserError

_CONNECT_SECONDS = 5.0
_LOCAL = "local"
"""Ray's word for a cluster of this machine alone, which lives as long as the run."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to the cluster of that address, else of `RAY_ADDRESS`, else to the one that runs on this machine.

    Inside the block Ray prints nothing: it writes its logs below its own session folder. Leaving the block ends every
    actor of this run.

    Raises:
        UserError: there is no cluster, or it does not answer.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    more = {"include_dashboard": False} if address == _LOCAL else {}
    # Ray reports dead machines on stdout, which is ours for results, whatever `log_to_driver` says
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **more)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(_unreachable(address, str(error).splitlines()[0])) from error
        finally:
            for number, handler in handlers.items():  # it takes SIGTERM for itself
                signal.signal(number, handler)
        try:
            yield
        finally:
            ray.shutdown()


def room(threads: int, gpus: float) -> int:
    """How many workers of this size the machines of the cluster hold, whatever else they do."""
    return sum(_room_of(node["Resources"], threads, gpus) for node in ray.nodes() if node["Alive"])


def has_gpus() -> bool:
    """Whether any machine of the cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU", 0))


def _room_of(resources: dict[str, float], threads: int, gpus: float) -> int:
    by_cores = floor(resources.get("CPU", 0) / threads)
    if not gpus:
        return by_cores
    return min(by_cores, floor(resources.get("GPU", 0) / gpus + 1e-9))


def _check_answers(address: str) -> None:
    """Ray itself would try for two minutes, and write its log to the terminal."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    if not port.isdecimal():
        raise UserError(Problem("must be host:port", "--address", address))
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(_unreachable(address, str(error))) from error


def _unreachable(address: str, reason: str) -> Problem:
    rule = f"no Ray cluster there ({reason}); begin one with: ray start --head, or take --address local"
    return Problem(rule, "--address", address)
