"""What ends the writing of a study: other programs that change it, unforeseen errors, a lease that was lost."""

import threading
import time
from typing import Any, cast

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import delete, update
from sqlalchemy.engine import make_url

from cifar_tune.errors import CheckError, UnexpectedError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import STUDIES, TRIALS
from cifar_tune.storage import attributes
from cifar_tune.storage.write_behind import WriteBehindStorage
from tests.storage.flaky import Flaky
from tests.storage.in_memory import failure_of, in_memory, told
from tests.waiting import PATIENCE, wait_until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others have done is found when a second is over."""
    monkeypatch.setattr("cifar_tune.storage.writer._TICK_SECONDS", 0.05)


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_study_that_others_delete_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage, is_busy: bool) -> None:
    told(in_memory(memory))
    assert memory.flush(PATIENCE)
    optuna.delete_study(study_name="s", storage=rdb)
    if is_busy:
        in_memory(memory).ask()
    assert str(failure_of(memory)) == (
        "the study 's' was deleted from the database while it ran, and its trials with it, so this run stops; the same "
        "command starts it again"
    )


def test_an_attribute_of_a_study_that_others_delete_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    """Databases refuse it as an error of their own, which must not be taken for an outage."""
    optuna.delete_study(study_name="s", storage=rdb)
    in_memory(memory).set_user_attr("elapsed", 1.0)
    assert str(failure_of(memory)).startswith("the study 's' was deleted from the database while it ran")


def test_a_study_that_others_rename_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    with rdb.engine.begin() as connection:
        connection.execute(update(STUDIES).values(study_name="other name"))
    assert str(failure_of(memory)) == (
        "the study 's' was renamed to 'other name' while it ran, so this run stops; nothing is lost: go on with: "
        "cifar-tune run 'other name'"
    )


def test_a_study_that_the_dashboard_renames_ends_the_run(rdb: BatchStorage) -> None:
    in_memory(rdb).set_user_attr(attributes.IDENTITY, "one of its own")
    storage = WriteBehindStorage(rdb, "s", linger=0.01)
    optuna.copy_study(from_study_name="s", from_storage=rdb, to_storage=rdb, to_study_name="t")
    optuna.delete_study(study_name="s", storage=rdb)
    assert str(failure_of(storage)) == (
        "the study 's' was renamed to 't' while it ran, so this run stops; its trials are kept as they were then: "
        "go on with: cifar-tune run t"
    )
    storage.close()


def test_a_trial_that_others_delete_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    trial = in_memory(memory).ask()
    assert memory.flush(PATIENCE)
    with rdb.engine.begin() as connection:
        connection.execute(delete(TRIALS))
    trial.report(0.5, 1)
    assert str(failure_of(memory)) == (
        "another program changed the study in the database while it ran: trial 0 was deleted. This run stops; start "
        "the same command again to go on with what the database has now"
    )


@pytest.mark.parametrize("is_interrupted", [False, True], ids=["", "after an outage"])
def test_a_trial_of_ours_that_others_end_is_theirs(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, is_interrupted: bool
) -> None:
    study = in_memory(memory)
    trial, other = study.ask(), study.ask()
    assert memory.flush(PATIENCE)
    flaky.down = is_interrupted
    if is_interrupted:
        other.report(0.1, 1)
        while memory.outage is None:
            time.sleep(0.01)
    in_memory(rdb).tell(trial.number, 0.99)
    flaky.down = False
    trial.report(0.5, 1)
    study.tell(other, 0.2)
    assert memory.flush(PATIENCE)
    (ended,) = memory.ended_elsewhere()
    assert (ended.number, ended.value) == (0, 0.99)
    assert memory.ended_elsewhere() == []
    assert [(each.state, each.value) for each in study.trials] == [
        (TrialState.COMPLETE, 0.99), (TrialState.COMPLETE, 0.2),
    ]  # fmt: skip
    study.set_user_attr("later", 1)
    assert memory.flush(PATIENCE)
    assert [each.value for each in in_memory(rdb).trials] == [0.99, 0.2]


def test_a_trial_that_others_end_as_it_ends_here_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(memory)
    trial = study.ask()
    assert memory.flush(PATIENCE)
    in_memory(rdb).tell(trial.number, 0.99)
    study.tell(trial, 0.5)
    assert "trial 0 was ended by it at the moment at which it ended here" in str(failure_of(memory))


@pytest.mark.parametrize("kind", ["another kind", "other choices"])
def test_another_kind_of_a_parameter_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage, kind: str) -> None:
    begun = in_memory(memory).ask()
    assert memory.flush(PATIENCE)
    in_memory(rdb).ask().suggest_categorical("momentum", ["low", "high"])
    if kind == "another kind":
        begun.suggest_float("momentum", 0.0, 1.0)
    else:
        begun.suggest_categorical("momentum", ["low", "middle"])
    failure = failure_of(memory)
    assert "while it ran: trial 1 has another kind of momentum, and Optuna takes no other kind of it in trial 0" in str(
        failure
    )
    assert isinstance(failure.__cause__, ValueError)


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), KeyError("a bug"), ValueError("a bug")])
def test_what_nobody_foresaw_ends_the_run_and_keeps_its_cause(
    memory: WriteBehindStorage, flaky: Flaky, bug: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours must not be put down to another program."""

    def create_numbered(*_: object) -> None:
        raise bug

    monkeypatch.setattr(flaky, "create_numbered", create_numbered, raising=False)
    in_memory(memory).ask()
    failure = failure_of(memory)
    assert isinstance(failure, UnexpectedError)
    assert str(failure).startswith(f"the study cannot be written any more: {type(bug).__name__}: ")
    assert failure.__cause__ is bug
    assert bug.__traceback__ is not None


def test_who_may_not_write_any_more_stops_in_the_middle(
    memory: WriteBehindStorage, flaky: Flaky, rdb: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is released right afterwards."""
    written: list[object] = []
    goes_on = threading.Event()

    def create_numbered(*arguments: Any) -> object:
        written.append(arguments)
        goes_on.wait(PATIENCE)
        return rdb.create_numbered(*arguments)

    monkeypatch.setattr(flaky, "create_numbered", create_numbered, raising=False)
    study = in_memory(memory)
    for _ in range(20):
        study.ask()
    wait_until(lambda: written != [])
    closing = threading.Thread(target=memory.close)
    closing.start()
    wait_until(lambda: memory._writer._is_closed)
    goes_on.set()
    closing.join()
    assert len(written) == 1


def test_no_failure_repeats_the_password(flaky: Flaky) -> None:
    url = make_url("postgresql+psycopg://me:s3cret@host/d")
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=0.01, url=url)
    flaky.bug = ZeroDivisionError(f"at {url.render_as_string(hide_password=False)}")
    in_memory(storage).ask()
    with pytest.raises(UnexpectedError, match="ZeroDivisionError") as raised:
        storage.flush(PATIENCE)
    assert "s3cret" not in str(raised.value)
    storage.close()


def test_who_may_not_write_writes_nothing(flaky: Flaky, rdb: BatchStorage) -> None:
    allowed = threading.Event()

    def guard() -> None:
        if not allowed.is_set():
            raise CheckError("the lease is lost")

    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", guard, linger=0.01, look=0.0, rewrite=0.0)
    in_memory(storage).ask()
    with pytest.raises(CheckError, match="the lease is lost"):
        storage.flush(PATIENCE)
    with pytest.raises(CheckError, match="the lease is lost"):
        storage.raise_if_failed()
    storage.close()
    assert in_memory(rdb).trials == []


def test_who_loses_the_right_during_a_long_write_stops_before_the_next_trial(flaky: Flaky, rdb: BatchStorage) -> None:
    def guard() -> None:
        if "create_numbered" in flaky.calls:
            raise CheckError("the lease is lost")

    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", guard, linger=0.01, look=0.0, rewrite=0.0)
    with storage.together():
        for _ in range(3):
            in_memory(storage).ask()
    with pytest.raises(CheckError, match="the lease is lost"):
        storage.flush(PATIENCE)
    storage.close()
    assert len(in_memory(rdb).trials) == 1


def test_the_guard_is_called_even_when_there_is_nothing_to_write(rdb: BatchStorage) -> None:
    calls: list[float] = []
    storage = WriteBehindStorage(rdb, "s", lambda: calls.append(time.monotonic()))
    wait_until(lambda: len(calls) >= 2)
    storage.close()
