"""What disturbs `finalize` opens nothing unnoticed: others, outages, too little memory, and Ctrl-C."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from sqlalchemy import Engine

from cifar_tune.errors import CheckError
from cifar_tune.storage import lease
from cifar_tune.storage.lease import acquire, owner_of
from cifar_tune.storage.own_tables import LEASES
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import storage_url
from cifar_tune.study import finalizing
from cifar_tune.study.final_model import write_final_model
from cifar_tune.study.finalizing import finalize
from cifar_tune.training import final
from tests.postgres import own_server
from tests.reports.factory import MadeTrial
from tests.waiting import wait_until

from .left_by_a_run import LR, openings, run, store


@pytest.mark.parametrize("begun_anew", [False, True])
def test_a_study_that_is_deleted_meanwhile_opens_nothing(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, begun_anew: bool
) -> None:
    def delete(words: str) -> None:
        if words.startswith("epoch 1/"):
            optuna.create_study(study_name="another", storage=made)  # else the new one would have the same number
            optuna.delete_study(study_name="made", storage=made)
            if begun_anew:
                store(made, [MadeTrial(LR, 0.8, epochs=2)])

    monkeypatch.setattr(finalizing, "load_test", lambda _: pytest.fail("opened"))
    with pytest.raises(CheckError, match="the study 'made' was deleted or renamed while its configuration was tr"):
        finalize(made, "made", "cpu", delete)
    assert owner_of(made.engine, "made") is None


def test_a_study_that_another_process_takes_over_while_the_model_is_written_opens_nothing(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine that sleeps for longer than a lease lasts, at the last moment before the opening."""

    def written(*arguments: Any) -> Any:
        result = write_final_model(*arguments)
        with made.engine.begin() as connection:
            connection.execute(LEASES.update().values({"token": "of another process"}))
        return result

    monkeypatch.setattr(finalizing, "write_final_model", written)
    monkeypatch.setattr(finalizing, "load_test", lambda _: pytest.fail("opened"))
    with pytest.raises(CheckError, match="another process took over the study 'made'"):
        finalize(made, "made", "cpu", lambda _: None, save=tmp_path / "model")
    assert openings(made) == []


def test_a_database_that_restarts_meanwhile_is_waited_for() -> None:
    with own_server() as server:
        storage = open_storage(storage_url(server.get_uri()))
        store(storage, [MadeTrial(LR, 0.8, epochs=2)])
        outages: list[str] = []

        def say(words: str) -> None:
            if words.startswith(("epoch 2/", "test set of")):  # before it is opened, and before the result is written
                server.stop()
            if "the database accepts no writes" in words:
                outages.append(words)
                server.start()

        [opening] = finalize(storage, "made", "cpu", say).openings
        assert opening.test_accuracy is not None
        assert len(outages) == 2
        close(storage)


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("CUDA error: out of memory")])
@pytest.mark.parametrize("where", ["Training", "train_aloud", "measure"])
def test_memory_that_runs_out_is_told(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(finalizing if where == "measure" else final, where, full)
    with pytest.raises(CheckError, match="the memory of cpu does not suffice: end what else uses it, or take another"):
        run(made)
    assert len(openings(made)) == (where == "measure")


@pytest.mark.parametrize(("error", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (MemoryError, CheckError)])
def test_an_opening_whose_result_is_lost_still_counts(
    made: RDBStorage, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], told: type[BaseException]
) -> None:
    def killed(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(finalizing, "measure", killed)
        with pytest.raises(told):
            run(made)
    [lost] = openings(made)
    assert (lost.trial, lost.test_loss, lost.test_accuracy) == (1, None, None)
    assert run(made)[0] == [lost]
    _, repeated = run(made, again=True)[0]
    assert repeated.test_accuracy is not None
    assert openings(made) == [lost, repeated]


def test_an_interruption_during_the_training_leaves_no_mark(made: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(final, "train_aloud", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made)
    assert openings(made) == []
    assert owner_of(made.engine, "made") is None


def test_a_study_that_somebody_runs_is_refused(made: RDBStorage) -> None:
    with acquire(made.engine, "made").kept(), pytest.raises(CheckError, match="is being run by process"):
        run(made)


def test_a_kept_lease_is_renewed(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_SECONDS", 6.0)

    def expires(engine: Engine) -> float:
        held = lease._read(engine, "made")
        assert held is not None
        return held[2]

    with acquire(storage.engine, "made").kept():
        first = expires(storage.engine)
        wait_until(lambda: expires(storage.engine) > first)
    assert owner_of(storage.engine, "made") is None
