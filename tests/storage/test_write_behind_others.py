"""What other programs add to a study, while it runs or while its database is away, is told from what is ours."""

from typing import cast

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.write_behind import WriteBehindStorage
from tests.storage.flaky import Flaky
from tests.storage.in_memory import assert_same, in_memory, told
from tests.waiting import PATIENCE, wait_until


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
        flaky.down, flaky.answer_lost, flaky.falls_silent = not has_arrived, int(has_arrived), has_arrived
    wait_until(lambda: not flaky.answers.is_set() if has_arrived else memory.outage is not None)
    flaky.down = False
    flaky.answers.set()
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
    flaky.answer_lost, flaky.falls_silent = 1, True
    trial = in_memory(memory).ask()
    wait_until(lambda: not flaky.answers.is_set())
    trial.suggest_float("lr", 1e-4, 1.0, log=True)
    flaky.answers.set()
    assert_same(memory, rdb)
