"""A pool that grows and shrinks while its executors train: real processes, and the actors of a cluster in words."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Began, Died, Ended, Job, Quit, Ready, Refused, Report, Verdict
from tests.waiting import PATIENCE, is_alive, wait_until

DATA = DataSpec(name="digits")


def speaks_the_messages(connection: Connection, device: str, slot: int) -> None:
    """Trains nothing: begins each job, and ends it as the verdict says. Of the device `never` it is never ready."""
    while device == "never":
        time.sleep(0.1)
    connection.send(Ready("cuda:0" if device == "cuda" else device, {"pid": os.getpid()}))
    while not isinstance(order := connection.recv(), Quit):
        if isinstance(order, Job):
            connection.send(Began(order.number, device, 0, 0, "fp32", ()))
            verdict = connection.recv()
            if not isinstance(verdict, Verdict):
                return
            connection.send(Ended(order.number, "completed" if verdict.go_on else "stopped"))


class Pool:
    """Executors, and what was heard from them."""

    def __init__(self, devices: tuple[str, ...]) -> None:
        self.executors = LocalExecutors(len(devices), devices, 1, lambda _note: None, speaks_the_messages)
        self.executors.wait_for_start(DATA, "", lambda: None)
        self.heard: list[Report | Died] = []
        self.hear(lambda: self.count(Ready) == len(devices))

    def count(self, kind: type) -> int:
        return sum(isinstance(report, kind) for report in self.heard)

    def hear(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.heard += self.executors.reports(0.1)
            assert time.monotonic() < deadline

    def begin(self, number: int) -> None:
        self.executors.submit(Job(number, {}, DATA, Path("none")))
        self.hear(lambda: any(isinstance(report, Began) and report.number == number for report in self.heard))

    def end(self, number: int, verdict: bool) -> None:
        self.executors.answer(number, Verdict(verdict))
        self.hear(lambda: any(isinstance(report, Ended) and report.number == number for report in self.heard))
        self.executors.finished(number)

    def devices(self) -> list[str]:
        return sorted(slot.device for slot in self.executors._slots)

    def pid_of(self, number: int) -> int:
        (slot,) = self.executors._with_trial(number)
        assert slot.process.pid is not None
        return slot.process.pid

    def pids(self) -> list[int]:
        return [slot.process.pid or 0 for slot in self.executors._slots]


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(("cpu",))
    yield pool
    pool.executors.close(lambda: True)


def seconds_of(**seconds: float) -> Callable[[int], float]:
    return lambda number: seconds[f"trial{number}"]


def test_it_grows_without_waiting_and_the_idle_and_the_shortest_go_first(pool: Pool) -> None:
    pool.begin(0)
    pool.executors.resize(["cpu"] * 4 + ["never"], seconds_of(trial0=9.0))
    assert pool.executors.workers == 5
    assert not pool.executors.idle(), "they are starting"
    pool.hear(lambda: pool.count(Ready) == 4)
    pool.begin(1)
    pool.begin(2)
    processes = pool.pids()

    pool.executors.resize(["cpu"] * 3, seconds_of(trial0=9.0, trial1=2.0, trial2=5.0))
    assert pool.devices() == ["cpu"] * 3, "the one that was starting and the idle one are gone at once"
    assert [pool.executors.is_to_go(number) for number in range(3)] == [False] * 3
    wait_until(lambda: sum(map(is_alive, processes)) == 3)

    pool.executors.resize(["cpu"], seconds_of(trial0=9.0, trial1=2.0, trial2=5.0))
    assert pool.executors.workers == 1
    assert [pool.executors.is_to_go(number) for number in range(3)] == [False, True, True]
    pool.executors.resize(["cpu"] * 2, seconds_of(trial0=9.0, trial1=2.0, trial2=5.0))
    assert [pool.executors.is_to_go(number) for number in range(3)] == [False, True, False], "the longer one stays"

    leaving = pool.pid_of(1)
    pool.end(1, verdict=False)
    wait_until(lambda: not is_alive(leaving))
    assert (pool.executors.workers, pool.executors.idle()) == (2, False)
    pool.end(2, verdict=True)
    assert pool.executors.idle(), "it stays for the next trial"


def test_there_may_be_none_and_some_again(pool: Pool) -> None:
    pool.begin(0)
    pool.executors.resize([], seconds_of(trial0=1.0))
    assert (pool.executors.workers, pool.executors.is_to_go(0)) == (0, True)
    pool.end(0, verdict=False)
    assert pool.pids() == []
    assert pool.executors.reports(0.01) == []
    pool.executors.resize(["cpu"], seconds_of())
    pool.hear(lambda: pool.count(Ready) == 2)
    pool.begin(0)


def test_one_that_is_to_go_is_not_replaced_when_it_dies_or_hangs(pool: Pool) -> None:
    pool.executors.resize(["cpu"] * 3, seconds_of())
    pool.hear(lambda: pool.count(Ready) == 3)
    for number in range(3):
        pool.begin(number)
    pool.executors.resize(["cpu"], seconds_of(trial0=3.0, trial1=2.0, trial2=1.0))
    os.kill(pool.pid_of(1), signal.SIGKILL)
    pool.hear(lambda: pool.count(Died) == 1)
    assert [report.number for report in pool.heard if isinstance(report, Died)] == [1]
    pool.executors.kill(2)
    assert len(pool.pids()) == pool.executors.workers == 1
    os.kill(pool.pid_of(0), signal.SIGKILL)
    pool.hear(lambda: pool.count(Ready) == 4)  # this one is


def test_devices_are_told_apart_by_both_of_their_names(pool: Pool) -> None:
    pool.begin(0)
    pool.executors.resize(["cuda", "cuda:1", "cpu"], seconds_of(trial0=1.0))
    pool.hear(lambda: pool.count(Ready) == 3)
    before = set(pool.pids())
    pool.executors.resize(["cuda:1", "cuda:0"], seconds_of(trial0=1.0))
    assert pool.executors.is_to_go(0)
    assert set(pool.pids()) == before, "cuda is cuda:0"
    pool.executors.resize(["cuda:1", "cuda:1"], seconds_of(trial0=1.0))
    pool.end(0, verdict=False)
    assert pool.devices() == ["cuda:1", "cuda:1"]


def test_a_cluster_has_as_many_actors_as_there_are_names(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")
    from tests.executors.test_ray_engine import READY, Cluster, executors_on, start

    cluster = Cluster([READY, READY])
    executors = executors_on(cluster, None, monkeypatch)
    assert start(executors) == [READY, READY]
    assert executors.workers == 2

    monkeypatch.setattr("cifar_tune.executors.ray_engine._LOOK_SECONDS", 0.0)
    executors.resize(["cpu"], seconds_of())
    assert executors.reports(0.0) == []
    assert (executors.workers, len(cluster.alive)) == (1, 1), "auto takes no room back"
    executors.resize([], seconds_of())
    assert (executors.reports(0.0), cluster.alive) == ([], [])
    executors.resize(["cuda:0", "cpu", "anything"], seconds_of())
    assert (executors.workers, len(cluster.alive)) == (3, 3)
    assert executors.reports(0.0) == [READY, READY]
    assert not any(isinstance(report, Refused) for report in executors.reports(0.0))
