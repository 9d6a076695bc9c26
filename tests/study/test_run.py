"""What surrounds the coordinator is put in order again, wherever a run ends."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from cifar_tune.errors import UserError
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.study import run
from cifar_tune.study.observer import Observer

from .conftest import spec_of
from .scripted import Script, ScriptedExecutors


class Pool(ScriptedExecutors):
    """Does not start."""

    def wait_for_start(self, *_arguments: object) -> None:
        raise UserError("no such device")


def test_a_run_that_fails_closes_executors_and_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, closed = Pool(Script()), list[RDBStorage]()
    monkeypatch.setattr(run, "LocalExecutors", lambda *_arguments: pool)
    monkeypatch.setattr(run, "close", closed.append)
    with pytest.raises(UserError, match="no such device"):
        run.run_study(spec_of({}), make_url(f"sqlite:///{tmp_path}/s.db"), Observer(), ExecutorOptions())
    assert pool.closed
    assert len(closed) == 1


def test_a_stop_while_executors_begin_is_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> Callable[[], None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "LocalExecutors", interrupted)
    outcome = run.run_study(spec_of({}), make_url(f"sqlite:///{tmp_path}/s.db"), Observer(), ExecutorOptions())
    assert (outcome.ending, outcome.record) == ("interrupted", None)
