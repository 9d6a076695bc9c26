"""The race of `finalize`: what it trains next, decided from the trials that there are."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from cifar_tune.data.folds import count_folds
from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import DamagedError, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import FINALS, NETWORKS
from cifar_tune.storage.records import StudyRecord, trial_record
from cifar_tune.storage.stored_studies import ForeignStudyError
from cifar_tune.study import finals
from cifar_tune.study.finals import begun_race, linked_record, linked_spec, planned_race
from cifar_tune.study.race import Race, RaceRecord, RaceScript, candidates_of, plan_race, unused_seeds
from cifar_tune.study.race_result import TIED, UNDECIDED, WITHDRAWN, WORSE, RaceResult, result_of
from cifar_tune.study.script import Task
from cifar_tune.study_spec.settings import Budget
from tests.reports.factory import MadeTrial, make_record, make_spec

from .conftest import RunStudy
from .scripted import Script

SPACE = {"lr": {"low": 1e-3, "high": 1.0, "log": True}, "seed": {"low": 0, "high": 9}}


def study(**sections: Any) -> StudyRecord:
    """Six candidates, best first 5, 0, 1, 2, 3, 4 as trials 7, 0, 1, ...; and some that are none."""
    trials = [MadeTrial({"lr": 0.01 + 0.01 * index, "seed": 3}, 0.9 - 0.01 * index) for index in range(5)]
    trials += [
        MadeTrial({"lr": 0.01, "seed": 7}, 0.85),  # the best again with another seed, and worse
        MadeTrial({"lr": 0.5, "seed": 1}, 0.99, "PRUNED", 1),
        MadeTrial({"lr": 0.2, "seed": 0}, 0.95),
    ]
    return make_record(make_spec(SPACE, **sections), trials)


class Finals:
    """A race whose trainings end as a test says: a value, or None for one that fails."""

    def __init__(self, race: Race, record: StudyRecord) -> None:
        self.race, self.record = race, record
        self.trials: list[FrozenTrial] = []
        self.script = RaceScript(race, [{"lr": 0.1}] * len(race.candidates))
        self.said: list[str] = []

    def next(self) -> Task | None:
        self.said += self.script.news(self.trials)
        return self.script.next(self.trials)

    def end(self, task: Task, value: float | None, reason: str | None = "completed") -> None:
        self.trials.append(
            create_trial(
                state=TrialState.FAIL if value is None else TrialState.COMPLETE,
                value=value,
                params={"lr": 0.1},
                distributions={"lr": FloatDistribution(1e-3, 1.0, log=True)},
                user_attrs={attributes.TASK: task.plain(), attributes.REASON: reason, attributes.CONFIG: {"lr": 0.1}},
            )
        )
        self.trials[-1].number = len(self.trials) - 1

    def run(self, truth: list[float], fails: set[tuple[int, int]] = frozenset()) -> list[Task]:  # type: ignore[assignment]
        tasks = []
        while (task := self.next()) is not None:
            tasks.append(task)
            failed = (task.candidate, task.block) in fails
            luck = 0.01 * math.sin(5 * task.candidate + 3 * task.block)
            self.end(task, None if failed else truth[task.candidate] + luck)
        return tasks

    @property
    def result(self) -> RaceResult | None:
        trials = [trial_record(trial, self.record.spec) for trial in self.trials]
        finals = StudyRecord(
            "made/finals", self.record.spec, {}, {}, 0.0, [], trials, [], self.record.study
        )  # fmt: skip
        return result_of(RaceRecord(self.race, finals))


def test_candidates_are_distinct_but_for_their_seed_and_best_first() -> None:
    assert [trial.number for trial in candidates_of(study())] == [7, 0, 1, 2, 3, 4]


def test_seeds_are_those_that_nothing_was_trained_with() -> None:
    seeds = unused_seeds(study())
    assert [next(seeds) for _ in range(4)] == [8, 9, 10, 11]
    highest = make_record(make_spec({}, train={"seed": 2**31 - 2}), [MadeTrial({}, 0.5)])
    seeds = unused_seeds(highest)
    assert [next(seeds) for _ in range(3)] == [2**31 - 1, 0, 1]


def test_blocks_share_seed_and_fold_and_the_budget_is_kept() -> None:
    record = study()
    race = plan_race(record, 10, folds=6)
    assert (race.candidates, race.seeds, race.folds) == ((7, 0, 1, 2), (8, 9, 10, 11), (1, 2, 3, 4))
    finals = Finals(race, record)
    tasks = finals.run([0.8, 0.9, 0.7, 0.85])
    assert len(tasks) == race.planned == 10
    assert [(task.candidate, task.block) for task in tasks[:4]] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert {task.candidate for task in tasks[4:]} == {0, 1}  # 0 was far better in the study than 3
    assert all((task.seed, task.fold) == (race.seeds[task.block], race.folds[task.block]) for task in tasks)
    assert len({(task.candidate, task.block) for task in tasks}) == 10
    found = finals.result
    assert found is not None
    assert found.winner.trial == 0
    assert {each.verdict for each in found.candidates[2:]} <= {UNDECIDED, WORSE}  # none that was dropped is tied
    assert found.optimism == pytest.approx(0.95 - found.candidates[0].mean)  # type: ignore[operator]
    assert found.interval is not None
    assert found.interval.mean == pytest.approx(np.mean(found.winner.values[1:]))  # of the last rung alone
    assert finals.said == ["rung 1 of 2 is over; trial 0, 7 of made go on"]


def test_folds_begin_again_and_few_of_them_are_not_used() -> None:
    assert plan_race(study(), 40, folds=4).folds[:6] == (1, 2, 3, 4, 1, 2)
    race = plan_race(study(), 40, folds=3)
    assert set(race.folds) == {0}
    assert not race.uses_folds


def test_a_rung_waits_for_all_its_trainings() -> None:
    record = study()
    finals = Finals(plan_race(record, 10, 6), record)
    first = [finals.next() for _ in range(1)]
    for _ in range(3):
        task = finals.next()
        assert task is not None
        finals.end(task, 0.8)
    last = finals.next()
    assert last is not None
    assert (last.candidate, last.block) == (3, 0)
    running = create_trial(state=TrialState.RUNNING, user_attrs={attributes.TASK: last.plain()})
    assert finals.script.next([*finals.trials, running]) is None
    finals.end(last, 0.8)
    following = finals.next()
    assert following is not None
    assert following.block == 1
    assert first[0] is not None


def test_a_candidate_whose_training_failed_is_withdrawn() -> None:
    record = study()
    finals = Finals(plan_race(record, 10, 6), record)
    tasks = finals.run([0.9, 0.8, 0.7, 0.6], {(0, 0)})
    assert {task.candidate for task in tasks if task.block} == {1, 2}
    found = finals.result
    assert found is not None
    assert found.winner.trial == 0
    assert [each.verdict for each in found.candidates][:2] == [WITHDRAWN, TIED]
    assert found.candidates[0].failed == 0
    assert found.optimism is None
    assert "trial 7 of made is withdrawn: trial 0 failed" in finals.said


def test_a_value_that_another_program_gave_a_training_counts_for_nothing() -> None:
    record = study()
    finals = Finals(plan_race(record, 10, 6), record)
    task = finals.next()
    assert task is not None
    finals.end(task, 1.0, reason=None)
    assert {each.candidate for each in finals.run([0.9, 0.8, 0.7, 0.6])} == {1, 2, 3}
    found = finals.result
    assert found is not None
    assert (found.winner.trial, found.candidates[0].verdict, found.candidates[0].values) == (0, WITHDRAWN, ())


def test_where_every_candidate_fails_there_is_no_winner() -> None:
    record = study()
    finals = Finals(plan_race(record, 10, 6), record)
    assert len(finals.run([0.9] * 4, {(each, 0) for each in range(4)})) == 4
    assert finals.result is None


def test_a_loss_is_raced_downwards() -> None:
    trials = [MadeTrial({"lr": 0.01 + 0.01 * index, "seed": 3}, 0.5 + 0.1 * index) for index in range(4)]
    record = make_record(make_spec(SPACE, objective={"metric": "val_loss"}), trials)
    race = plan_race(record, 10, 6)
    assert (race.candidates, race.maximizes) == ((0, 1, 2, 3), False)
    finals = Finals(race, record)
    finals.run([0.9, 0.4, 0.8, 0.7])
    found = finals.result
    assert found is not None
    assert found.winner.trial == 1
    assert found.optimism == pytest.approx(found.candidates[0].mean - 0.5)  # type: ignore[operator]
    assert found.interval is not None
    assert found.interval.low >= 0


def test_what_is_raced_is_kept_and_read_again() -> None:
    race = plan_race(study(), 40, 6)
    assert Race.read(race.plain()) == race
    for damaged in ({}, race.plain() | {"seeds": [1]}, race.plain() | {"rungs": [["a"]]}):
        with pytest.raises(DamagedError, match="race of finalize makes no sense"):
            Race.read(damaged)
    with pytest.raises(UserError, match="--trainings = 9: must be at least 10"):
        plan_race(study(), 9, 6)


def test_a_training_that_fails_is_repeated_once(run_scripted: RunStudy) -> None:
    trials = [MadeTrial({"lr": 0.08 - 0.01 * index}, 0.9 - 0.01 * index) for index in range(4)]
    record = make_record(make_spec({"lr": SPACE["lr"]}), trials)
    race = plan_race(record, 10, 6)
    planned = RaceScript(race, [record.trials[number].params for number in race.candidates])
    disasters = {
        0: [(1, "error")],
        1: [(0, "error"), (1, "error")],
        2: [(1, "killed for memory")],
        3: [(1, "diverged"), (1, "diverged")],  # the same seed would diverge again
    }
    plain = {"search_space": {"lr": SPACE["lr"]}, "train": {"epochs": 2}, "budget": {"trials": race.planned},
             "pruner": {"name": "none"}, "sampler": {"name": "random"}}  # fmt: skip
    ending, finals, recorder = run_scripted(plain, Script(disasters=disasters), workers=2, planned=planned)
    assert ending == "budget"
    assert dict(finals.counts) == {"COMPLETE": 8, "FAIL": 1, "PRUNED": 1}
    assert [trial.config["lr"] for trial in finals.trials[:4]] == [0.08, 0.07, 0.06, 0.05]
    found = result_of(RaceRecord(race, finals))
    assert found is not None
    assert found.winner.trial == 0
    assert {each.trial: each.failed for each in found.candidates} == {0: None, 1: 1, 2: None, 3: 3}
    assert "trial 0 failed (scripted error); it is trained once more" in recorder.notes
    assert sum("is trained once more" in note for note in recorder.notes) == 3
    seeds = {trial.task["block"]: trial.config["seed"] for trial in finals.trials if trial.task is not None}
    assert [seeds[block] for block in range(4)] == list(race.seeds)


def test_no_time_limit_of_the_study_ends_a_training_of_finalize() -> None:
    record = study(budget={"trials": 8, "trial_timeout": 30})
    for kind in (FINALS, NETWORKS):
        assert linked_spec(record, record.spec.data, kind, 10).budget == Budget(10, None)


def test_trials_of_other_programs_take_the_place_of_none(run_scripted: RunStudy, storage: BatchStorage) -> None:
    trials = [MadeTrial({"lr": 0.08 - 0.01 * index}, 0.9 - 0.01 * index) for index in range(4)]
    record = make_record(make_spec({"lr": SPACE["lr"]}), trials)
    race = plan_race(record, 10, 6)
    plain = {"search_space": {"lr": SPACE["lr"]}, "train": {"epochs": 1}, "budget": {"trials": race.planned},
             "pruner": {"name": "none"}, "sampler": {"name": "random"}}  # fmt: skip

    def run(stop_after: int | None) -> RaceResult | None:
        planned = RaceScript(race, [record.trials[number].params for number in race.candidates])
        _, finals, _ = run_scripted(plain, Script(), stop_after=stop_after, planned=planned)
        return result_of(RaceRecord(race, finals))

    assert run(stop_after=2) is None
    optuna.load_study(study_name="test", storage=storage).enqueue_trial({"lr": 0.5})
    found = run(stop_after=None)
    assert found is not None
    assert sum(len(each.values) for each in found.candidates) == race.planned


@pytest.mark.parametrize(("metric", "uses_folds"), [("val_accuracy", True), ("val_auroc", False)])
def test_folds_without_a_class_are_not_used_where_a_metric_needs_every_class(
    monkeypatch: pytest.MonkeyPatch, metric: str, uses_folds: bool
) -> None:
    labels = np.repeat([0, 1], (400, 4))
    validation = np.append(np.arange(39), 400)
    prepared = PreparedData(
        Path(), labels, ("a", "b"), "", np.setdiff1d(np.arange(404), validation), validation, (3, 8, 8)
    )
    monkeypatch.setattr(finals, "prepare", lambda _: prepared)
    record = study(objective={"metric": metric})
    assert count_folds(prepared) == 9  # and three images of the second class for them
    assert planned_race(record, record.spec.data, 10).uses_folds == uses_folds


def test_a_linked_study_of_which_nothing_was_written_is_begun_again(storage: BatchStorage) -> None:
    """A kill between the two statements that create a study."""
    record = make_record(make_spec({"lr": SPACE["lr"]}), [MadeTrial({"lr": 0.1}, 0.9)], storage)
    for kind in (FINALS, NETWORKS):
        optuna.create_study(study_name=f"made/{kind}", storage=storage, direction="maximize")
        assert linked_record(storage, f"made/{kind}") is None
    assert begun_race(storage, record) is None
    optuna.load_study(study_name="made/finals", storage=storage).set_user_attr("whose", "another program's")
    with pytest.raises(ForeignStudyError):
        begun_race(storage, record)
