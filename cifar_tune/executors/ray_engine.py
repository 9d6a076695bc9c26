"""Executors on a Ray cluster: one actor per slot. Ray places them, reports lost machines and fills new ones."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError

import cifar_tune
from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import Problem, UserError
from cifar_tune.executors.messages import Broken, Died, Ended, Job, Ready, Refused, Report, Verdict
from cifar_tune.executors.options import ClusterAwayError, ExecutorOptions, room_of
from cifar_tune.executors.pool import Slot, Slots
from cifar_tune.executors.ray_actor import BESIDE, RayExecutor, Surroundings

_CONNECT_SECONDS = 5.0
_LOCAL = "local"
"""Ray's word for a cluster of this machine alone, which lives as long as the run."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to the cluster of that address, else of `RAY_ADDRESS`, else to the one that runs on this machine.

    Ray writes its logs below its own session folder. Only dead machines it reports on stdout, whatever `log_to_driver`
    says. Leaving the block ends every actor of this run.

    Raises:
        ClusterAwayError: there is no cluster, or it does not answer.
        UserError: the address is none.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "auto"
    _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    more = {"include_dashboard": False} if address == _LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **more)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterAwayError(_unreachable(address, str(error).splitlines()[0])) from error
    finally:
        if threading.current_thread() is threading.main_thread():  # there Ray takes SIGTERM for itself
            for number, handler in handlers.items():
                signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def room(threads: int, gpus: float) -> int:
    """How many workers of this size the machines of the cluster hold, whatever else they do."""
    return sum(room_of(node["Resources"], threads, gpus) for node in ray.nodes() if node["Alive"])


def has_gpus() -> bool:
    """Whether any machine of the cluster has a GPU."""
    return bool(ray.cluster_resources().get("GPU", 0))


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
        raise ClusterAwayError(_unreachable(address, str(error))) from error


def _unreachable(address: str, reason: str) -> Problem:
    rule = f"no Ray cluster there ({reason}); begin one with: ray start --head, or take --address local"
    return Problem(rule, "--address", address)


_GRACE_SECONDS = 35.0
_ANYWHERE = ""
"""Every actor's device is called so: Ray chooses."""
_LOOK_SECONDS = 10.0
"""How often `--workers auto` looks for new machines."""


@dataclass
class _Slot(Slot):
    """A place for an actor. `owed` is the future of what it does right now, `end` that of its end."""

    actor: Any
    owed: Any
    end: Any


class RayExecutors(Slots[_Slot]):
    """A pool of actors. Those that find no room wait in Ray until some machine has it; we need not care.

    One that refuses stays where it is as long as others work, so that Ray places no other one on its machine.

    Args:
        options: how many, where, and their share of a GPU.
        threads: CPUs of an actor: how many threads a trial uses at most.
        note: is given messages for people.

    Raises:
        UserError: if there is no such cluster.
    """

    def __init__(self, options: ExecutorOptions, threads: int, note: Callable[[str], None]) -> None:
        super().__init__()
        gpus = options.gpus_per_worker
        with ExitStack() as connection:
            connection.enter_context(connected(options.address))
            self._gpus = float(has_gpus()) if gpus is None else gpus
            self._connection = connection.pop_all()
        self._threads = threads
        self._wanted = options.workers
        self._note = note
        self._numbers = count()
        self._looked = 0.0
        self._refusing: list[_Slot] = []
        self._surroundings: Surroundings

    def wait_for_start(self, data: DataSpec, fingerprint: str, impatient: Callable[[], None]) -> None:
        """Ask for the actors, and wait for the first that starts: a study goes on with what there is.

        `impatient` is called now and then and may raise. Machines with other images than the coordinator's refuse.

        Raises:
            UserError: if all refuse.
        """
        variables = {CACHE_VARIABLE: os.environ[CACHE_VARIABLE]} if CACHE_VARIABLE in os.environ else {}
        device = "cuda" if self._gpus else "cpu"
        self._surroundings = Surroundings(cifar_tune.__version__, Path.cwd(), variables, data, fingerprint, device)
        if not room(self._threads, self._gpus):
            self._note(
                f"no machine of the Ray cluster has the {self._threads} CPU and {self._gpus:g} GPU that a worker asks "
                f"for: waiting for one that joins (Ctrl-C ends)"
            )
        self._grow()
        while all(isinstance(report, Refused) for report in self._kept):
            impatient()
            self._kept += self._hear(0.1)
            if not self._slots:
                raise UserError("\n".join(dict.fromkeys(r.message for r in self._kept if isinstance(r, Refused))))

    def reports(self, timeout: float) -> list[Report | Died]:
        """The same as of every pool; looks for new machines now and then."""
        if not self._kept and self._wanted is None and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._grow()
        return super().reports(timeout)

    def resize(self, devices: Sequence[str], seconds: Callable[[int], float]) -> None:
        """See `Executors`: have as many actors as there are names, wherever Ray finds room for them."""
        self._wanted = len(devices)  # `auto` is over
        super().resize([_ANYWHERE] * len(devices), seconds)

    def close(self, at_once: Callable[[], bool]) -> None:
        """End all actors: each finishes the checkpoint that it is writing, unless `at_once` says not to wait."""
        leaving = [_beside(slot.actor.leave) for slot in self._slots if slot.ready is not None]
        deadline = time.monotonic() + _GRACE_SECONDS
        while leaving and not at_once() and time.monotonic() < deadline:
            _, leaving = ray.wait(leaving, num_returns=len(leaving), timeout=0.1)
        for slot in (*self._slots, *self._refusing):
            ray.kill(slot.actor)
        self._slots.clear()
        self._connection.close()

    def _grow(self) -> None:
        """Ask for as many actors in all as were wanted, or as there is room for; never for fewer than before."""
        self._looked = time.monotonic()
        self._refusing = [slot for slot in self._refusing if not ray.wait([slot.end], timeout=0)[0]]  # else it is lost
        wanted = self._wanted
        if wanted is None:
            wanted = max(1, room(self._threads, self._gpus) - len(self._refusing))
        self._slots += [self._start(next(self._numbers)) for _ in range(len(self._slots), wanted)]

    def _give(self, slot: _Slot, order: Job | Verdict) -> None:
        slot.owed = slot.actor.begin.remote(order) if isinstance(order, Job) else slot.actor.go_on.remote(order)

    def _hear(self, timeout: float) -> list[Report | Died]:
        heard_by = {slot.owed or slot.end: slot for slot in self._slots}
        futures = list(heard_by)
        if not futures:
            time.sleep(timeout)
            return []
        if not ray.wait(futures, timeout=timeout)[0]:
            return []
        done, _ = ray.wait(futures, num_returns=len(futures), timeout=0)  # all that a lost machine takes with it
        return [report for future in done for report in self._receive(heard_by[future])]

    def _receive(self, slot: _Slot) -> list[Report | Died]:
        future, slot.owed = slot.owed or slot.end, None
        try:
            said: list[Report | Died] = ray.get(future)
        except RayError as error:
            self._replace(slot)
            return [Died(slot.trial, _cause(slot, error), slot.index, _is_out_of_memory(error))]
        slot.ready = next((report for report in said if isinstance(report, Ready)), slot.ready)
        match said[-1]:
            case Broken() as broken:
                self._replace(slot)
                return [*said[:-1], Died(slot.trial, broken.cause, slot.index)]
            case Refused():
                self._give_up(slot)
            case Ended(outcome="out_of_memory"):  # what it still holds must not be missing for the next trial
                self._replace(slot)
        return said

    def _replace(self, slot: _Slot) -> None:
        """Begin another actor, unless the slot is to go."""
        ray.kill(slot.actor)  # a machine that is only cut off must not write the checkpoint of a trial that goes on
        if slot.is_to_go:
            self._slots.remove(slot)
            return
        index = slot.index if slot.ready is None else next(self._numbers)  # false starts are counted by index
        self._slots[self._slots.index(slot)] = self._start(index)

    def _give_up(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        self._refusing.append(slot)
        if not any(each.ready is not None for each in self._slots):
            # those that wait for room are to come, and refuse too
            for each in self._refusing:
                ray.kill(each.actor)
            self._refusing.clear()

    def _begin_on(self, device: str) -> _Slot:
        return self._start(next(self._numbers))

    def _end_for_good(self, slot: _Slot) -> None:
        ray.kill(slot.actor)
        self._slots.remove(slot)

    def _start(self, index: int) -> _Slot:
        actor_class = ray.remote(num_cpus=self._threads, num_gpus=self._gpus, concurrency_groups=BESIDE)(RayExecutor)
        actor = actor_class.remote()
        return _Slot(index, _ANYWHERE, actor, actor.start.remote(self._surroundings), _beside(actor.watch))


def _beside(method: Any) -> Any:
    (group,) = BESIDE
    return method.options(concurrency_group=group).remote()


def _cause(slot: _Slot, error: RayError) -> str:
    if slot.ready is not None:
        return f"{slot.ready.device}: the process or the machine is gone"
    return str(error).strip().splitlines()[-1]


def _is_out_of_memory(error: RayError) -> bool:
    """Whether Ray's memory monitor ended the actor; of an actor that is not retried it says so in words only."""
    return isinstance(error, OutOfMemoryError) or "running low on memory" in str(error)
