"""What surrounds the coordinator is put in order again, wherever a run ends."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from cifar_tune.errors import UserError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage.lease import owner_of
from cifar_tune.storage.rdb import open_storage
from cifar_tune.study import run
from cifar_tune.study.events import Observer

from .conftest import spec_of
from .scripted import Script, ScriptedExecutors


class Pool(ScriptedExecutors):
    """Does not start."""

    def wait_for_start(self, *_arguments: object) -> None:
        raise UserError("no such device")


def test_a_run_that_fails_closes_executors_and_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, closed = Pool(Script()), list[RDBStorage]()
    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: pool)
    monkeypatch.setattr(run, "close", closed.append)
    with pytest.raises(UserError, match="no such device"):
        run.run_study(spec_of({}), make_url(f"sqlite:///{tmp_path}/s.db"), Observer(), ExecutorOptions())
    assert pool.closed
    assert len(closed) == 1


class Started(ScriptedExecutors):
    """Has started, and is asked for nothing."""

    def wait_for_start(self, *_arguments: object) -> None:
        pass


def test_after_an_error_the_study_is_free_when_no_executor_runs_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_url(f"sqlite:///{tmp_path}/s.db")
    free: list[bool] = []

    class Closing(Started):
        def close(self, at_once: Callable[[], bool]) -> None:
            free.append(owner_of(open_storage(url).engine, "test") is None)

    def broken(*_arguments: object) -> None:
        raise UserError("cannot be opened")

    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments, **_more: Closing(Script()))
    monkeypatch.setattr(run, "open_study", broken)
    with pytest.raises(UserError, match="cannot be opened"):
        run.run_study(spec_of({}), url, Observer(), ExecutorOptions())
    assert free[0] is False


def test_a_stop_while_executors_begin_is_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object, **_more: object) -> Callable[[], None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "LocalExecutors", interrupted)
    outcome = run.run_study(spec_of({}), make_url(f"sqlite:///{tmp_path}/s.db"), Observer(), ExecutorOptions())
    assert (outcome.ending, outcome.record) == ("interrupted", None)
