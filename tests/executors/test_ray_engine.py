"""The pool of Ray actors without a cluster: machines that refuse."""

from contextlib import nullcontext
from typing import Any

import pytest

from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import Died, Ready, Refused, Report
from cifar_tune.executors.options import ExecutorOptions

pytest.importorskip("ray", reason="needs ray: pip install 'cifar-tune[ray]'")

from cifar_tune.executors import ray_engine
from cifar_tune.executors.ray_engine import RayExecutors

READY, REFUSED = Ready("cpu on good", {}), Refused("bad (10.0.0.2): has other images")


class Handle:
    """An actor, or a future, or what makes one."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Cluster:
    """Places an actor for each of `answers`; more actors find no room until one is ended."""

    def __init__(self, answers: list[Report]) -> None:
        self.answers = answers
        self.alive: list[Any] = []

    def remote(self, **_options: Any) -> Any:
        return lambda _class: Handle(remote=self.new_actor)

    def new_actor(self) -> Any:
        beside = Handle(options=lambda **_group: Handle(remote=Handle))  # a future that never ends
        actor: Any = Handle(watch=beside, leave=beside)
        actor.start = Handle(remote=lambda _surroundings: Handle(actor=actor))
        self.alive.append(actor)
        return actor

    def _is_done(self, future: Any) -> bool:
        return hasattr(future, "actor") and self.alive.index(future.actor) < len(self.answers)

    def wait(self, futures: list[Any], num_returns: int = 1, timeout: float = 0) -> tuple[list[Any], list[Any]]:
        done = [future for future in futures if self._is_done(future)]
        return done, [future for future in futures if future not in done]

    def get(self, future: Any) -> list[Report]:
        return [self.answers[self.alive.index(future.actor)]]

    def kill(self, actor: Any) -> None:
        self.alive.remove(actor)


def executors_on(cluster: Cluster, workers: int | None, monkeypatch: pytest.MonkeyPatch) -> RayExecutors:
    monkeypatch.setattr(ray_engine, "ray", cluster)
    monkeypatch.setattr(ray_engine, "connected", lambda _address: nullcontext())
    monkeypatch.setattr(ray_engine, "has_gpus", lambda: False)
    monkeypatch.setattr(ray_engine, "room", lambda _threads, _gpus: len(cluster.answers))
    return RayExecutors(ExecutorOptions("ray", workers), 1, lambda _note: None)


def start(executors: RayExecutors) -> list[Report | Died]:
    executors.wait_for_start(DataSpec(name="digits"), "", lambda: None)
    return executors.reports(0.0)


def test_a_machine_that_refuses_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([READY, REFUSED])
    executors = executors_on(cluster, None, monkeypatch)
    assert start(executors) == [READY, REFUSED]
    assert (executors.workers, executors.idle()) == (1, True)
    assert len(cluster.alive) == 2, "the one that refused keeps others from its machine"

    cluster.answers.append(READY)  # a machine joins
    monkeypatch.setattr(ray_engine, "_LOOK_SECONDS", 0.0)
    assert executors.reports(0.0) == [READY]
    assert executors.workers == 2


def test_where_all_machines_refuse_the_run_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^bad .*has other images$"):
        start(executors_on(Cluster([REFUSED]), 3, monkeypatch))  # the others would wait for room
