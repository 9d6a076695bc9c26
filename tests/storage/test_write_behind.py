"""What happens in memory stands in the database, whatever happens to the way there."""

import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage
from optuna.storages._rdb.models import (
    StudyUserAttributeModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import delete, event, select, update
from sqlalchemy.engine import URL, make_url

from cifar_tune.errors import CheckError, CifarTuneError, UnexpectedError
from cifar_tune.optuna_internals import BatchStorage
from cifar_tune.optuna_tables import STUDIES, TRIALS
from cifar_tune.storage import attributes, writer
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.write_behind import WriteBehindStorage
from tests.storage.flaky import Flaky
from tests.waiting import PATIENCE, wait_until


@pytest.fixture
def rdb(database: URL) -> Iterator[BatchStorage]:
    """A database with one study, named s."""
    storage = open_storage(database)
    optuna.create_study(storage=storage, study_name="s", direction="maximize")
    yield storage
    close(storage)


@pytest.fixture
def flaky(rdb: BatchStorage) -> Flaky:
    """The same database behind an unreliable line."""
    return Flaky(rdb)


@pytest.fixture
def memory(flaky: Flaky) -> Iterator[WriteBehindStorage]:
    """The study in memory."""
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=0.01, look=0.0, rewrite=0.0)
    yield storage
    storage.close()


def in_memory(storage: BaseStorage) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler(0))


def told(study: optuna.Study, epochs: int = 3) -> optuna.Trial:
    trial = study.ask()
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    trial.suggest_categorical("optimizer", ["sgd", "adam"])
    for epoch in range(1, epochs + 1):
        trial.report(0.1 * epoch, epoch)
    trial.set_user_attr("history", {"loss": [1.0, float("nan")]})
    study.tell(trial, 0.1 * epochs)
    return trial


def seen(trial: FrozenTrial) -> tuple[object, ...]:
    return (
        trial.number,
        trial.state,
        trial.values,
        trial.params,
        trial.distributions,
        trial.intermediate_values,
        str(trial.user_attrs),
        trial.system_attrs,
    )


def assert_same(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    assert memory.flush(PATIENCE)
    ours = [seen(trial) for trial in in_memory(memory).trials]
    assert ours == [seen(trial) for trial in in_memory(rdb).trials]
    assert in_memory(memory).user_attrs == in_memory(rdb).user_attrs


def test_everything_arrives(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(memory)
    told(study)
    study.set_user_attr("elapsed", 1.5)
    running = study.ask()
    running.suggest_float("lr", 1e-4, 1.0, log=True)
    assert_same(memory, rdb)
    running.report(0.5, 1)
    assert_same(memory, rdb)
    study.set_user_attr("elapsed", 2.5)
    running.set_user_attr("seconds", 1)
    running.set_user_attr("seconds", 2)
    study.tell(running, state=TrialState.PRUNED)
    assert_same(memory, rdb)


def test_a_trial_that_began_and_ended_at_once_is_one_write(flaky: Flaky) -> None:
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=PATIENCE, look=0.0, rewrite=0.0)
    told(in_memory(storage), epochs=30)
    storage.admit_others(PATIENCE)  # it does not linger where somebody waits
    assert storage.flush(PATIENCE)
    storage.close()
    assert [call for call in flaky.calls if call.startswith(("create", "set"))] == ["create_numbered"]


def test_what_is_there_already_is_taken_over(rdb: BatchStorage) -> None:
    told(in_memory(rdb))
    in_memory(rdb).set_user_attr("spec", {"name": "s"})
    parked = in_memory(rdb).ask()
    rdb.set_trial_state_values(parked._trial_id, TrialState.WAITING)
    storage = WriteBehindStorage(rdb, "s", linger=0.01, look=0.0, rewrite=0.0)
    try:
        study = in_memory(storage)
        assert study.user_attrs == {"spec": {"name": "s"}}
        again = study.ask()
        assert again.number == parked.number
        again.report(0.3, 1)
        study.tell(again, 0.3)
        assert_same(storage, rdb)
        assert study.best_trial.number in {0, parked.number}
    finally:
        storage.close()


def test_a_parked_trial_is_written_as_waiting(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    trial = in_memory(memory).ask()
    assert memory.flush(PATIENCE)
    memory.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    assert_same(memory, rdb)


def test_a_verdict_and_its_rung_are_written_at_once_before_the_end(memory: WriteBehindStorage, flaky: Flaky) -> None:
    """Successive halving gives its verdict once: killed in between, the next run must know of it."""
    study = in_memory(memory)
    trial = study.ask()
    assert memory.flush(PATIENCE)
    flaky.calls.clear()
    with memory.together():
        trial.report(0.1, 1)
        memory.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.1)
        time.sleep(0.1)
        trial.set_user_attr("pruned_at", 1)
        study.tell(trial, state=TrialState.PRUNED)
    assert memory.flush(PATIENCE)
    changes = [call for call in flaky.calls if call.startswith(("set", "add"))]
    assert changes == ["add_to_trial", "set_trial_state_values"]


def test_while_trials_are_held_none_is_written_but_the_guard_is_called(rdb: BatchStorage) -> None:
    calls: list[float] = []
    storage = WriteBehindStorage(rdb, "s", lambda: calls.append(time.monotonic()), linger=0.01, look=0.0, rewrite=0.0)
    study = in_memory(storage)
    with storage.together():
        trial = study.ask()
        trial.suggest_float("lr", 1e-4, 1.0, log=True)
        calls.clear()
        wait_until(lambda: bool(calls))
        assert not storage.flush(0.1)
        trial.suggest_float("momentum", 0.0, 1.0)
        assert in_memory(rdb).trials == []
    assert_same(storage, rdb)
    storage.close()


@pytest.fixture
def patient(flaky: Flaky) -> Iterator[WriteBehindStorage]:
    """The study in memory, whose running trials are next to never written again."""
    storage = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=0.01, look=0.0, rewrite=1000.0)
    yield storage
    storage.close()


def test_a_trial_that_runs_is_written_now_and_then(patient: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(patient)
    trial = study.ask()
    assert patient.flush(PATIENCE)
    trial.report(0.1, 1)
    assert not patient.flush(0.3)
    assert rdb.get_all_trials(rdb.get_study_id_from_name("s"))[0].intermediate_values == {}
    patient.set_trial_system_attr(trial._trial_id, "completed_rung_0", 0.1)  # no checkpoint holds it
    assert patient.flush(PATIENCE)
    trial.report(0.2, 2)
    assert not patient.flush(0.3)
    patient.set_trial_state_values(trial._trial_id, TrialState.WAITING)  # it is parked
    assert patient.flush(PATIENCE)
    assert_same(patient, rdb)


def test_what_waits_to_be_written_holds_up_nobody(patient: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(patient)
    trial = study.ask()
    assert patient.flush(PATIENCE)
    trial.report(0.1, 1)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    assert [each.number for each in patient.admit_others(PATIENCE)] == [1]
    told(study)
    study.tell(trial, 0.1)
    assert patient.flush(PATIENCE)
    assert_same(patient, rdb)


def test_a_report_of_another_program_gives_way_to_ours(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    """Such as a process of plain Optuna that does not know that its trial was taken up by others."""
    trial = in_memory(memory).ask()
    assert memory.flush(PATIENCE)
    rdb.set_trial_intermediate_value(rdb.get_all_trials(rdb.get_study_id_from_name("s"))[0]._trial_id, 1, 0.9)
    trial.report(0.1, 1)
    trial.report(0.2, 2)
    assert memory.flush(PATIENCE)
    assert memory.outage is None
    assert_same(memory, rdb)


def test_an_outage_loses_nothing(memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky) -> None:
    study = in_memory(memory)
    begun = study.ask()
    assert memory.flush(PATIENCE)
    flaky.down = True
    begun.report(0.4, 1)
    study.tell(begun, 0.4)
    told(study)
    study.set_user_attr("elapsed", 3.0)
    assert not memory.flush(0.5)
    assert "the server is gone" in str(memory.outage)
    assert memory.is_behind
    assert memory.unwritten() == {0, 1}
    flaky.down = False
    assert_same(memory, rdb)
    assert memory.unwritten() == frozenset()


@pytest.mark.parametrize("lost", range(1, 9))
def test_a_write_whose_answer_was_lost_is_not_written_twice(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, lost: int
) -> None:
    study = in_memory(memory)
    begun = study.ask()
    assert memory.flush(PATIENCE)
    flaky.answer_lost = lost
    begun.suggest_float("lr", 1e-4, 1.0, log=True)
    begun.report(0.4, 1)
    begun.set_user_attr("a", 1)
    study.tell(begun, 0.4)
    told(study)
    assert_same(memory, rdb)


def test_a_new_trial_whose_answer_is_lost_deep_inside_is_there_once(
    memory: WriteBehindStorage, rdb: BatchStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna's own storage would send it again, and nobody would know the first one."""
    told(in_memory(memory))
    assert memory.flush(PATIENCE)
    said: list[str] = []
    commit = rdb.engine.dialect.do_commit

    def look(*details: Any) -> None:
        said.extend(["sent"] if details[2].startswith("INSERT INTO trials") else [])

    def committed_without_answer(connection: Any) -> None:
        commit(connection)
        if said == ["sent"]:
            said.append("lost")
            raise rdb.engine.dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    event.listen(rdb.engine, "after_cursor_execute", look)
    monkeypatch.setattr(rdb.engine.dialect, "do_commit", committed_without_answer)
    with memory.together():
        trial = in_memory(memory).ask()
        trial.set_user_attr("config", {"lr": 0.1})
    assert memory.flush(PATIENCE)
    assert said == ["sent", "lost"]
    assert memory.admit_others(PATIENCE) == []
    in_memory(memory).tell(trial, 0.5)
    assert_same(memory, rdb)


def lose_commits(rdb: BatchStorage, numbers: dict[int, str]) -> None:
    """As a server that crashed, or a replica in its place: finished trials run again, `gone` ones are gone."""
    with rdb.engine.begin() as connection:
        for number, what in numbers.items():
            (trial,) = connection.execute(select(TrialModel.trial_id).where(TrialModel.number == number)).scalars()
            models = (TrialValueModel, TrialUserAttributeModel, TrialIntermediateValueModel, TrialParamModel)
            for model in models if what == "gone" else models[:3]:
                connection.execute(delete(model).where(model.trial_id == trial))
            end = update(TrialModel).values(state=TrialState.RUNNING, datetime_complete=None)
            change = delete(TrialModel) if what == "gone" else end
            connection.execute(change.where(TrialModel.trial_id == trial))
        connection.execute(delete(StudyUserAttributeModel))


@pytest.mark.parametrize("is_noticed", [True, False], ids=["an error", "no error"])
@pytest.mark.parametrize("last", ["running", "gone"])
def test_what_a_database_lost_is_written_again(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, is_noticed: bool, last: str
) -> None:
    study = in_memory(memory)
    study.set_user_attr("elapsed", 3.0)
    for _ in range(3):
        told(study)
    assert memory.flush(PATIENCE)
    flaky.down = is_noticed
    if is_noticed:
        study.set_user_attr("another", 1)
        wait_until(lambda: memory.outage is not None)
    lose_commits(rdb, {1: "running", 2: last})
    flaky.down = False
    if not is_noticed:
        with rdb.engine.connect() as connection:
            connection.invalidate()
    assert_same(memory, rdb)
    assert in_memory(rdb).user_attrs["elapsed"] == 3.0
    assert [trial.value for trial in in_memory(rdb).trials] == [0.1 * 3] * 3


def test_what_others_did_to_a_study_in_an_outage_stays(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky
) -> None:
    """Such as the notes of a dashboard."""
    in_memory(rdb).set_user_attr("note", "old")
    again = WriteBehindStorage(cast(BatchStorage, flaky), "s", linger=0.01, look=0.0, rewrite=0.0)
    try:
        flaky.down = True
        in_memory(again).set_user_attr("ours", 1)
        wait_until(lambda: again.outage is not None)
        in_memory(rdb).set_user_attr("note", "new")
        flaky.down = False
        assert again.flush(PATIENCE)
    finally:
        again.close()
    assert in_memory(rdb).user_attrs == {"note": "new", "ours": 1}


def test_trials_that_others_enqueue_are_taken_over(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    told(in_memory(memory))
    assert memory.flush(PATIENCE)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    in_memory(rdb).enqueue_trial({"lr": 0.2})
    memory.admit_others(PATIENCE)
    trial = in_memory(memory).ask()
    assert (trial.number, trial.suggest_float("lr", 1e-4, 1.0, log=True)) == (1, 0.1)
    assert_same(memory, rdb)


def test_they_are_taken_over_while_there_is_something_to_write(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(memory)
    begun = study.ask()
    assert memory.flush(PATIENCE)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    study.tell(begun, 0.5)
    memory.admit_others(PATIENCE)
    assert study.ask().suggest_float("lr", 1e-4, 1.0, log=True) == 0.1
    assert_same(memory, rdb)


def test_nobody_waits_for_others_while_the_database_is_away(memory: WriteBehindStorage, flaky: Flaky) -> None:
    flaky.down = True
    in_memory(memory).ask()
    memory.admit_others(PATIENCE)
    assert memory.outage is not None
    memory.admit_others(PATIENCE)


def test_a_trial_that_another_program_finishes_during_an_outage_comes_after_ours(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky
) -> None:
    flaky.down = True
    study = in_memory(memory)
    study.ask()
    wait_until(lambda: memory.outage is not None)
    in_memory(rdb).add_trial(create_trial(value=1.0, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}))
    flaky.down = False
    assert memory.flush(PATIENCE)
    (admitted,) = memory.admit_others(PATIENCE)
    assert (admitted.number, dict(admitted.params)) == (1, {"x": 0.5})
    assert_same(memory, rdb)


@pytest.mark.parametrize("count", [1, 2])
def test_what_others_enqueue_before_ours_is_written_comes_after_it(
    memory: WriteBehindStorage, rdb: BatchStorage, count: int
) -> None:
    """Between the last look at the database and the first write of a trial passes a tenth of a second."""
    study = in_memory(memory)
    told(study)
    assert memory.flush(PATIENCE)
    with memory.together():
        ours = study.ask()
        for index in range(count):
            in_memory(rdb).enqueue_trial({"lr": 0.1 + index}, user_attrs={"by": "hand"})
    ours.suggest_float("lr", 1e-4, 1.0, log=True)
    study.tell(ours, 0.7)
    assert memory.flush(PATIENCE)
    assert [trial.value for trial in in_memory(rdb).trials][:2] == [0.1 * 3, 0.7]
    assert [trial.number for trial in memory.admit_others(PATIENCE)] == [2, 3][:count]
    theirs = [study.ask() for _ in range(count)]
    assert [trial.number for trial in theirs] == [2, 3][:count]
    assert sorted(trial.suggest_float("lr", 1e-4, 2.0, log=True) for trial in theirs) == [0.1, 1.1][:count]
    assert_same(memory, rdb)
    # the next run has all under the same numbers
    again = WriteBehindStorage(rdb, "s", linger=0.01, look=0.0, rewrite=0.0)
    try:
        assert_same(again, rdb)
        assert [trial.number for trial in in_memory(again).trials] == list(range(2 + count))
    finally:
        again.close()


def test_a_database_that_says_nothing_is_away(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_SILENT_SECONDS", 0.1)
    flaky.answers.clear()
    in_memory(memory).ask()
    wait_until(lambda: memory.outage is not None)
    assert memory.outage is not None
    assert "it has not answered for" in memory.outage.words
    assert memory.is_behind, "nothing new should begin"
    monkeypatch.setattr(writer, "_SILENT_SECONDS", PATIENCE)
    flaky.answers.set()
    assert_same(memory, rdb)
    assert memory.outage is None


def test_what_others_enqueued_before_an_outage_is_taken_over_after_it(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky
) -> None:
    study = in_memory(memory)
    begun = study.ask()
    assert memory.flush(PATIENCE)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    flaky.down = True
    begun.report(0.3, 1)
    wait_until(lambda: memory.outage is not None)
    flaky.down = False
    assert memory.flush(PATIENCE)
    memory.admit_others(PATIENCE)
    assert study.ask().suggest_float("lr", 1e-4, 1.0, log=True) == 0.1
    assert_same(memory, rdb)


@pytest.mark.parametrize("has_arrived", [False, True])
def test_what_others_enqueued_during_an_outage_is_not_taken_for_ours(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky, has_arrived: bool
) -> None:
    with memory.together():
        ours = in_memory(memory).ask()
        in_memory(rdb).enqueue_trial({"lr": 0.1})
        flaky.down, flaky.answer_lost = not has_arrived, int(has_arrived)
    wait_until(lambda: memory.outage is not None)
    flaky.down = False
    assert memory.flush(PATIENCE)
    (theirs,) = memory.admit_others(PATIENCE)
    assert (ours.number, theirs.number, theirs.system_attrs["fixed_params"]) == (0, 1, {"lr": 0.1})
    assert_same(memory, rdb)


def test_a_trial_that_another_program_begins_in_an_outage_is_not_taken_for_ours(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky
) -> None:
    flaky.down = True
    with memory.together():
        ours = in_memory(memory).ask()
        ours.set_user_attr("config", {"lr": 0.1})
    wait_until(lambda: memory.outage is not None)
    theirs = in_memory(rdb).ask()
    flaky.down = False
    assert memory.flush(PATIENCE)
    in_memory(rdb)._storage.set_trial_user_attr(theirs._trial_id, "by", "them")
    assert [trial.user_attrs for trial in in_memory(rdb).trials] == [{"config": {"lr": 0.1}}, {"by": "them"}]


def test_a_trial_that_grew_after_its_answer_was_lost_is_ours(
    memory: WriteBehindStorage, rdb: BatchStorage, flaky: Flaky
) -> None:
    flaky.answer_lost = 1
    trial = in_memory(memory).ask()
    wait_until(lambda: memory.outage is not None)
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    assert_same(memory, rdb)


def failure_of(memory: WriteBehindStorage) -> CifarTuneError:
    """What ends the writing; if there is nothing to write, it is noticed within a second or so."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            memory.flush(0.1)
            memory.raise_if_failed()
        except CifarTuneError as error:
            return error
        time.sleep(0.05)
    raise AssertionError("nothing was noticed")


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_study_that_others_delete_ends_the_run(memory: WriteBehindStorage, rdb: BatchStorage, is_busy: bool) -> None:
    told(in_memory(memory))
    assert memory.flush(PATIENCE)
    optuna.delete_study(study_name="s", storage=rdb)
    if is_busy:
        in_memory(memory).ask()
    assert str(failure_of(memory)) == (
        "the study 's' was deleted from the database while it ran, and its trials with it, so this run stops; the same "
        "command begins it anew"
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


def test_who_may_not_write_any_more_stops_in_the_middle(memory: WriteBehindStorage, flaky: Flaky) -> None:
    """The lease is given free right afterwards."""
    study = in_memory(memory)
    flaky.answers.clear()
    for _ in range(20):
        study.ask()
    wait_until(lambda: "create_numbered" in flaky.calls)
    closing = threading.Thread(target=memory.close)
    closing.start()
    wait_until(lambda: memory._writer._is_closed)
    flaky.answers.set()
    closing.join()
    assert flaky.calls.count("create_numbered") == 1


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


def test_a_value_changed_by_its_owner_after_it_was_set_is_not_written(
    memory: WriteBehindStorage, rdb: BatchStorage
) -> None:
    resumed = [3]
    trial = in_memory(memory).ask()
    trial.set_user_attr("resumed_from", resumed)
    assert memory.flush(PATIENCE)
    resumed.append(5)
    trial.set_user_attr("resumed_from", resumed)
    assert_same(memory, rdb)
    assert in_memory(rdb).trials[0].user_attrs["resumed_from"] == [3, 5]


def test_waiting_and_running_trials_are_found_by_their_state(memory: WriteBehindStorage, rdb: BatchStorage) -> None:
    study = in_memory(memory)
    told(study)
    parked, running = study.ask(), study.ask()
    memory.set_trial_state_values(parked._trial_id, TrialState.WAITING)
    assert memory.flush(PATIENCE)
    in_memory(rdb).enqueue_trial({"lr": 0.1})
    memory.admit_others(PATIENCE)

    def numbers(storage: BaseStorage, *states: TrialState) -> list[int]:
        return [trial.number for trial in in_memory(storage).get_trials(states=states)]

    assert numbers(memory, TrialState.WAITING) == numbers(rdb, TrialState.WAITING) == [parked.number, 3]
    assert numbers(memory, TrialState.RUNNING) == [running.number]
    assert numbers(memory, TrialState.WAITING, TrialState.RUNNING) == [1, 2, 3]
    assert numbers(memory, TrialState.COMPLETE) == [0]
    study.tell(running, state=TrialState.FAIL)
    assert numbers(memory, TrialState.RUNNING) == []


def test_unfinished_trials_of_an_earlier_run_are_found_by_their_state(rdb: BatchStorage) -> None:
    told(in_memory(rdb))
    in_memory(rdb).ask()
    storage = WriteBehindStorage(rdb, "s", linger=0.01, look=0.0, rewrite=0.0)
    try:
        assert [trial.number for trial in in_memory(storage).get_trials(states=(TrialState.RUNNING,))] == [1]
    finally:
        storage.close()
