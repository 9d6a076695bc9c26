"""The slots of a Ray cluster: as many as its machines have room for, renewed while machines join and leave.

Which machine a trial runs on is Ray's business. The server only counts: a slot is a CPU, and a trial takes as many as
it has threads; where trials get GPUs, it is a share of one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Condition, Event, Thread

from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.executors.options import room_of
from cifar_tune.service.runs import Command, coordinating

_FIRST_SECONDS = 90.0
_SILENCE_SECONDS = 20.0
"""Whoever looks at the cluster says something each 2 s."""

_AGAIN_SECONDS = 5.0

Nodes = Sequence[tuple[str, Mapping[str, float]]]
"""Name and resources of each machine."""


class ClusterGoneError(CheckError):
    """The cluster does not answer at the moment."""


@dataclass
class ClusterSlots:
    """What is known of a cluster.

    Attributes:
        address: as host:port; None for `RAY_ADDRESS`, else the one that runs on this machine.
        gpus_per_worker: the share of a GPU that a trial gets; None for 1 where the cluster has GPUs.
        silence: seconds after which whoever looks at the cluster is missed.
    """

    address: str | None
    gpus_per_worker: float | None
    silence: float = _SILENCE_SECONDS
    _changed: Condition = field(default_factory=Condition)
    _nodes: Nodes | None = None
    _heard: float = 0.0
    _words: str = ""

    @property
    def command(self) -> Command:
        """Runs a submission on the cluster."""
        more = ["--engine", "ray", *([] if self.address is None else ["--address", self.address])]
        more += ["--gpus-per-worker", f"{self.gpus:g}"]

        return lambda number, devices: [*coordinating(number, devices), *more]

    @property
    def gpus(self) -> float:
        """The share of a GPU that each trial gets; decided once, when the first machines are known."""
        if self.gpus_per_worker is None:
            self.gpus_per_worker = float(any(resources.get("GPU", 0) for _, resources in self._nodes or ()))
        return self.gpus_per_worker

    def slots(self) -> tuple[str, ...]:
        """The slots: for each the kind of its resource and its machine, such as `cpu@lab1`.

        Raises:
            ClusterGoneError: the cluster does not answer.
        """
        with self._changed:
            if self._nodes is None or time.monotonic() - self._heard > self.silence:
                raise ClusterGoneError(self._words or "nothing is heard of it")
            kind = "gpu" if self.gpus else "cpu"
            return tuple(
                f"{kind}@{name}"
                for name, resources in sorted(self._nodes, key=lambda node: node[0])
                for _ in range(room_of(resources, 1, self.gpus))
            )

    def hear(self, line: str) -> None:
        """Take a line of `cluster_nodes`."""
        with suppress(ValueError, TypeError), self._changed:
            self._nodes = [(str(name), dict(resources)) for name, resources in json.loads(line)]
            self._heard = time.monotonic()
            self._changed.notify_all()

    def miss(self, words: str) -> None:
        """Whoever looks at the cluster has ended, and said this last."""
        with self._changed:
            self._words = words
            self._heard = 0.0 if self._nodes is None else min(self._heard, time.monotonic() - self.silence)
            self._changed.notify_all()

    def wait_for_first(self) -> None:
        """Wait until the cluster has answered.

        Raises:
            UserError: there is none, or it does not answer.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._nodes is not None or bool(self._words), _FIRST_SECONDS)
            if self._nodes is None:
                raise UserError(self._words or Problem("the Ray cluster does not answer", "--address", self.address))


@contextmanager
def cluster_slots(address: str | None, gpus_per_worker: float | None) -> Iterator[ClusterSlots]:
    """Look at a cluster inside the block, in a process beside this one, which is begun again if it ends.

    Raises:
        UserError: there is no such cluster, or none that lives as long as the studies do.
    """
    if address == "local":
        rule = "is a cluster that ends with the server, which studies outlive; begin one with: ray start --head"
        raise UserError(Problem(rule, "--address", address))
    found, is_over = ClusterSlots(address, gpus_per_worker), Event()
    thread = Thread(target=_look, args=(found, is_over), name="cluster", daemon=True)
    thread.start()
    try:
        found.wait_for_first()
        yield found
    finally:
        is_over.set()
        thread.join(10.0)


def _look(found: ClusterSlots, is_over: Event) -> None:
    """Read what the process beside this one says, and begin it again when it has ended."""
    more = [] if found.address is None else ["--address", found.address]
    while not is_over.is_set():
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(  # noqa: S603 (our own program)
                [sys.executable, "-P", "-m", "cifar_tune.service.cluster_nodes", *more],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
            )  # fmt: skip
            Thread(target=_end, args=(process, is_over), name="cluster's end", daemon=True).start()
            for line in process.stdout or ():
                found.hear(line)
            process.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        found.miss(said[-1] if said else f"whoever looked at it has ended with {process.returncode}")
        is_over.wait(_AGAIN_SECONDS)


def _end(process: "subprocess.Popen[str]", is_over: Event) -> None:
    """End the process with this one: then its stdin ends."""
    while process.poll() is None:
        if is_over.wait(1.0):
            if process.stdin is not None:
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
                return
            process.kill()
            return
