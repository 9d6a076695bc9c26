"""The pruner `promotion`: trials pause, go on when they belong to the best, and end as pruned when all is over."""

import copy
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from cifar_tune.cli.study_status import status_and_trials, status_lines
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.messages import EpochDone
from cifar_tune.pruners.build import build_pruner
from cifar_tune.reports.page.timeline import spans
from cifar_tune.samplers.build import Samplers
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.coordinator import Coordinator
from cifar_tune.study.events import Observer, StopRequests, Watch
from cifar_tune.study.opening import about_defaults, open_study, with_its_defaults

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors


def study(trials: int, epochs: int = 9, **pruner: Any) -> dict[str, Any]:
    options = {"name": "promotion", "reduction_factor": 3, "keep": 3, "complete": 0.0, **pruner}
    return {
        "budget": {"trials": trials},
        "train": {"epochs": epochs},
        "search_space": {"lr": {"low": 0.01, "high": 1.0}},
        "sampler": {"name": "random"},
        "pruner": options,
    }


def trained(executors: ScriptedExecutors) -> int:
    """Epochs in all."""
    return sum(len(each) for each in executors.checkpoints.values())


def course(record: StudyRecord) -> list[tuple[object, ...]]:
    """What became of the trials."""
    return [(trial.number, trial.state, trial.reason, dict(trial.intermediate)) for trial in record.trials]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_best_go_on_and_no_epoch_is_trained_twice(run_scripted: RunStudy, workers: int) -> None:
    executors = ScriptedExecutors(Script(), workers=workers)
    ending, record, recorder = run_scripted(study(27), executors=executors)
    assert ending == "budget"
    assert record.finished == len(record.trials) == 27
    assert record.counts["COMPLETE"] >= 1
    assert record.counts["COMPLETE"] + record.counts["PRUNED"] == 27
    by_value = sorted(record.trials, key=lambda trial: float(str(trial.params["lr"])), reverse=True)
    assert by_value[0].state == "COMPLETE"
    assert [epoch for number, epoch, _ in recorder.epochs if number == by_value[0].number] == list(range(1, 10))
    assert all(trial.epochs >= 3 for trial in by_value[:9]), "a third of the first rung goes on"
    assert {trial.epochs for trial in record.trials if trial.state == "PRUNED"} <= {1, 3}
    assert {trial.reason for trial in record.trials if trial.state == "PRUNED"} == {"pruned"}
    assert trained(executors) == sum(trial.epochs for trial in record.trials) < 27 * 9 / 2
    assert [end.finished for end in recorder.ends] == list(range(1, 28))


def test_a_paused_trial_goes_on_when_it_turns_out_to_be_among_the_best(run_scripted: RunStudy) -> None:
    """The second trial is worse than the first, so that it waits; of six, two go on, and it is the second best."""
    order = [0.9, 0.8, 0.1, 0.2, 0.3, 0.4]
    plain = study(6) | {"start_from": [{"lr": lr} for lr in order]}
    executors = ScriptedExecutors(Script())
    _, record, _ = run_scripted(plain, executors=executors)
    assert [job.number for job in executors.jobs] == [0, 1, 2, 3, 4, 5, 1]
    assert [trial.epochs for trial in record.trials] == [9, 3, 1, 1, 1, 1]
    assert record.trials[1].resumed_from == [1]
    assert spans([record.trials[2]])[0].seconds == 1, "a bar shows what was trained, not how long it waited"


def test_smaller_values_are_the_better_ones_of_a_loss(run_scripted: RunStudy) -> None:
    plain = study(9) | {"objective": {"metric": "val_loss"}}
    _, record, _ = run_scripted(plain)
    best = max(record.trials, key=lambda trial: float(str(trial.params["lr"])))
    assert (best.state, best.epochs) == ("COMPLETE", 9)


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_complete_in_the_end_without_a_pause(run_scripted: RunStudy, workers: int) -> None:
    _, record, _ = run_scripted(study(20, complete=0.25), workers=workers)
    assert 5 <= record.counts["COMPLETE"] < 5 + workers
    assert record.finished == 20


def test_at_most_so_many_wait(run_scripted: RunStudy, storage: RDBStorage) -> None:
    """The worst ones of the lowest rung end, so that no more checkpoints are kept than that."""
    executors = ScriptedExecutors(Script(), workers=2)
    most: list[int] = []
    played = executors.reports

    def reports(timeout: float) -> list[Any]:
        trials = optuna.load_study(study_name="test", storage=storage).get_trials(deepcopy=False)
        most.append(sum(trial.state == TrialState.WAITING for trial in trials))
        return played(timeout)

    executors.reports = reports  # type: ignore[method-assign]
    _, record, _ = run_scripted(study(30, most_paused=3), executors=executors)
    assert max(most) <= 3 + 1  # the newest one pauses before the worst one ends
    assert record.finished == 30
    best = max(record.trials, key=lambda trial: float(str(trial.params["lr"])))
    assert best.state == "COMPLETE"


def test_a_spared_trial_never_waits(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(study(8, spare=1.0))
    assert record.counts["COMPLETE"] == 8
    assert any(trial.spared_at == 1 for trial in record.trials)


@pytest.mark.parametrize("every", [3, 8])
def test_stopped_and_continued_it_does_the_same(run_scripted: RunStudy, every: int) -> None:
    plain = study(12, complete=0.25)
    _, uninterrupted, _ = run_scripted(plain | {"name": "uninterrupted"})
    executors = ScriptedExecutors(Script())
    ending, runs = "interrupted", 0
    while ending == "interrupted":
        again = ScriptedExecutors(Script(), checkpoints=executors.checkpoints)
        ending, record, _ = run_scripted(plain, executors=again, stop_after=every)
        runs += 1
    assert (ending, runs > 3) == ("budget", True)
    assert course(record) == course(uninterrupted)
    assert trained(executors) == sum(trial.epochs for trial in record.trials)


def test_killed_at_any_epoch_it_does_the_same(run_scripted: RunStudy, storage: RDBStorage, tmp_path: Path) -> None:
    """The database is copied as it stands after each epoch, with what a kill leaves; each copy is run to its end."""
    plain = study(8, complete=0.25)
    executors = ScriptedExecutors(Script())
    left: list[tuple[Path, dict[int, list[Any]]]] = []
    played = executors.reports

    def reports(timeout: float) -> list[Any]:
        found = played(timeout)
        if any(isinstance(each, EpochDone) for each in found):
            file = tmp_path / f"killed{len(left)}.db"
            there, to = (sqlite3.connect(name) for name in (str(storage.engine.url.database), file))
            with closing(there), closing(to):
                there.backup(to)
            left.append((file, copy.deepcopy(executors.checkpoints)))
        return found

    executors.reports = reports  # type: ignore[method-assign]
    _, expected, _ = run_scripted(plain, executors=executors)
    assert len(left) > 15
    for file, checkpoints in left[::5]:
        again = ScriptedExecutors(Script(), checkpoints=checkpoints)
        assert course(run_to_its_end(f"sqlite:///{file}", plain, again)) == course(expected)


def run_to_its_end(url: str, plain: dict[str, Any], executors: ScriptedExecutors) -> StudyRecord:
    storage, spec = open_storage(make_url(url)), spec_of(plain)
    open_study(storage, spec, prepare(DataSpec(name="digits")))
    with closing(WriteBehindStorage(storage, spec.name, look=0.0, rewrite=0.0, linger=0.01)) as memory:
        study = optuna.load_study(study_name=spec.name, storage=memory, pruner=build_pruner(spec.pruner, 9))
        assert Coordinator(memory, study, spec, executors, Watch(Observer(), StopRequests())).run() == "budget"
    return load_record(storage, spec.name)


def test_time_that_is_over_leaves_them_waiting_and_a_larger_budget_goes_on(run_scripted: RunStudy) -> None:
    plain = study(9)
    executors = ScriptedExecutors(Script())
    ending, record, recorder = run_scripted(plain, executors=executors, stop_after=20)
    assert ending == "interrupted"
    waiting = [trial for trial in record.trials if trial.state == "WAITING"]
    assert waiting
    assert [number for number, _ in recorder.parked_trials] == []
    found, _ = status_and_trials("test", record_url())
    assert [each["number"] for each in found["paused"]] == [trial.number for trial in waiting]
    assert {each["rung"] for each in found["paused"]} <= {1, 2}
    assert found["parked"] == []
    line = f"  paused: {len(waiting)} trials"
    assert any(each.startswith(line) for each in status_lines(found)), status_lines(found)
    ending, record, _ = run_scripted(
        study(18), executors=ScriptedExecutors(Script(), checkpoints=executors.checkpoints)
    )
    assert (ending, record.finished) == ("budget", 18)
    assert trained(executors) == sum(trial.epochs for trial in record.trials)


def record_url() -> Any:
    return make_url(os.environ["CIFAR_TUNE_STORAGE"])


def test_samplers_learn_from_paused_trials(run_scripted: RunStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    """TPE sees each as pruned with what it has reported, and none of them is taken for a new trial."""
    seen: list[tuple[int, int]] = []
    real = Samplers.next

    def listening(self: Any, number: int) -> Any:
        sampler = real(self, number)
        drawn = sampler.sample_relative

        def sample(study: optuna.Study, trial: FrozenTrial, space: Any) -> Any:
            ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
            assert all(each.values for each in ended)
            seen.append((number, len(ended)))
            return drawn(study, trial, space)

        monkeypatch.setattr(sampler, "sample_relative", sample)
        return sampler

    monkeypatch.setattr(Samplers, "next", listening)
    _, record, _ = run_scripted(study(14) | {"sampler": {"name": "tpe", "n_startup_trials": 4}})
    assert seen == [(number, number) for number in range(14)]
    assert record.finished == 14


def test_a_grid_tries_each_combination_once(run_scripted: RunStudy) -> None:
    plain = study(20) | {
        "search_space": {"lr": {"choices": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}},
        "sampler": {"name": "grid"},
    }
    ending, record, _ = run_scripted(plain)
    assert (ending, record.finished) == ("exhausted", 6)
    assert len({str(trial.params["lr"]) for trial in record.trials}) == 6
    assert {trial.params["lr"] for trial in record.trials if trial.state == "COMPLETE"} >= {0.6}


def test_constraints_are_judged_when_it_ends(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(study(9) | {"constraints": ["val_accuracy >= 0.05"]})
    assert record.finished == 9
    assert all(trial.feasible is not None for trial in record.trials)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"deterministic": 2}, "does not work with pruner promotion"),
        (
            {"pruner": {"name": "patient", "patience": 1, "wrapped_pruner": {"name": "promotion"}}},
            "must be a pruner that stops trials; promotion pauses them",
        ),
        ({"pruner": {"name": "promotion", "min_resource": 10}}, "must be at most the number of epochs"),
    ],
)
def test_what_it_does_not_work_with_is_refused(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        spec_of(study(4) | sections)


def test_a_study_keeps_the_pruner_that_it_began_with(run_scripted: RunStudy, storage: RDBStorage) -> None:
    """A larger budget would give a new study another default."""
    plain = {key: value for key, value in study(6).items() if key != "pruner"}
    run_scripted(plain)
    given = spec_of(plain | {"budget": {"trials": 60}})
    assert given.pruner.name == "promotion"
    kept = with_its_defaults(storage, given)
    assert (kept.pruner.name, kept.budget.trials) == ("median", 60)
    words = "this study goes on as it began, with pruner median; as a new study it would have promotion"
    assert words in list(about_defaults(given, kept))
    named = spec_of(plain | {"budget": {"trials": 60}, "pruner": {"name": "promotion"}})
    assert with_its_defaults(storage, named).pruner.name == "promotion", "who names one is not overruled"


def test_auto_keeps_its_choice(run_scripted: RunStudy, storage: RDBStorage) -> None:
    plain = study(6) | {"pruner": {"name": "none"}, "sampler": {"name": "auto", "seed": 3}}
    run_scripted(plain)
    given = spec_of(plain | {"budget": {"trials": 60}})
    kept = with_its_defaults(storage, given)
    assert (given.sampler.name, kept.sampler.name) == ("tpe", "gp")
    assert any(
        "with sampler {name: gp}; as a new study it would have {name: tpe}" in each
        for each in about_defaults(given, kept)
    )
