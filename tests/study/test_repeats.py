"""`repeats`: each configuration is trained on the same seeds, means decide, and those that fall behind stop."""

from collections import Counter
from statistics import fmean
from typing import Any

import pytest

from cifar_tune.cli.study_status import one_status, status_lines
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage import attributes
from cifar_tune.storage.fallen_behind import allowed_lag
from cifar_tune.storage.overview import overview
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.checking import repeats_line
from cifar_tune.study.evolving import carry

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors

GRID: dict[str, Any] = {
    "sampler": {"name": "grid"},
    "train": {"epochs": 1, "seed": 7},
    "search_space": {"lr": {"choices": [0.1, 0.2, 0.3, 0.4]}},
    "budget": {"trials": 50},
    "repeats": {"seeds": 3, "stop_early": False},
}
_OF_SEED = {7: 0.0, 8: 0.02, 9: -0.05}


def curve(config: Configuration, epoch: int) -> float:
    """The best configuration is not that of the best training."""
    lucky = 0.2 if (config["lr"], config["seed"]) == (0.2, 8) else 0.0
    return float(config.number("lr")) + _OF_SEED[config.integer("seed")] + lucky


def dealt(record: StudyRecord) -> Counter[tuple[object, object]]:
    return Counter((trial.config["lr"], trial.config["seed"]) for trial in record.trials)


EVERYTHING = {(lr, seed): 1 for lr in (0.1, 0.2, 0.3, 0.4) for seed in (7, 8, 9)}


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_each_configuration_is_trained_on_the_same_seeds(run_scripted: RunStudy, workers: int) -> None:
    ending, record, recorder = run_scripted(GRID, Script(curve), workers)
    assert ending == "exhausted"
    assert dealt(record) == EVERYTHING
    assert recorder.ends[-1].most == 12
    assert record.spec.repeats is not None


def test_means_decide(run_scripted: RunStudy, storage: BatchStorage) -> None:
    _, record, recorder = run_scripted(GRID, Script(curve))
    best, last = record.best, recorder.ends[-1]
    assert best is not None
    assert best.repeated is not None
    own = [trial for trial in record.trials if trial.params == {"lr": 0.4}]
    assert best.value == pytest.approx(fmean(trial.value or 0.0 for trial in own)) == pytest.approx(0.39)
    assert best.repeated.numbers == tuple(trial.number for trial in sorted(own, key=lambda trial: trial.config["seed"]))
    assert best.config["seed"] == 9, "the last seed, so that those above are unused"
    assert max(record.trials, key=lambda trial: trial.value or 0.0).params == {"lr": 0.2}
    assert (last.best_number, last.best_value) == (best.number, best.value)
    seen = overview(storage, "test").best
    assert seen is not None
    assert (seen.number, seen.value, seen.repeated) == (best.number, best.value, best.repeated)
    assert [trial.params["lr"] for trial in record.ranked] == [0.4, 0.3, 0.2, 0.1]
    assert len(record.completed) == 4


def test_a_run_that_was_stopped_goes_on(run_scripted: RunStudy) -> None:
    executors = ScriptedExecutors(Script(curve), 2)
    ending, record, _ = run_scripted(GRID, executors=executors, stop_after=5)
    assert ending == "interrupted"
    again = ScriptedExecutors(Script(curve), 3, executors.checkpoints)
    ending, record, recorder = run_scripted(GRID, executors=again)
    assert (ending, dealt(record)) == ("exhausted", EVERYTHING)
    assert recorder.ends[-1].best_value == pytest.approx(0.39)
    assert run_scripted(GRID, executors=again)[1].finished == 12


def test_status_says_whose_mean_is_the_best(run_scripted: RunStudy) -> None:
    run_scripted(GRID | {"budget": {"trials": 2}}, Script(curve))
    status = one_status("test", storage_url(None))
    assert (status["budget_trials"], status["trainings"], status["best"]) == (2, 3, None)
    assert "  best: none; no configuration has all its 3 trainings" in status_lines(status)
    run_scripted(GRID, Script(curve))
    status = one_status("test", storage_url(None))
    assert status["best"]["standard_errors"]["val_accuracy"] == pytest.approx(0.0208167, abs=1e-6)
    numbers = ", ".join(map(str, status["best"]["trainings"]))
    assert f"  best: val_accuracy 0.39 (standard error 0.021) in the mean of trials {numbers} (lr 0.4)" in status_lines(
        status
    )


EARLY = GRID | {"repeats": 3}


def far_apart(config: Configuration, epoch: int) -> float:
    return float(config.number("lr")) + _OF_SEED[config.integer("seed")] / 10


def test_a_configuration_that_has_fallen_behind_is_trained_no_further(run_scripted: RunStudy) -> None:
    ending, record, recorder = run_scripted(EARLY, Script(far_apart))
    counts = Counter(trial.params["lr"] for trial in record.trials)
    best_so_far, whole = 0.0, []
    for lr in dict.fromkeys(trial.params["lr"] for trial in record.trials):  # in the order in which they began
        assert isinstance(lr, float)
        is_better = lr > best_so_far
        assert counts[lr] == (3 if is_better else 1), "one training shows that it is far behind"
        whole += [lr] * is_better
        best_so_far = max(best_so_far, lr)
    assert ending == "exhausted"
    assert sorted(trial.params["lr"] for trial in record.ranked) == sorted(whole)
    said = [note for note in recorder.notes if "fallen behind" in note]
    assert len(said) == 4 - len(whole) > 0
    assert "after 1 of 3 trainings its mean is" in said[0]
    assert run_scripted(EARLY, Script(far_apart))[1].finished == record.finished, "nothing is trained after all"


def test_without_stop_early_none_is(run_scripted: RunStudy) -> None:
    _, record, recorder = run_scripted(GRID, Script(curve))
    assert record.finished == 12
    assert not [note for note in recorder.notes if "fallen behind" in note]


def test_the_allowed_lag_is_that_of_the_rule() -> None:
    assert allowed_lag(0.25, 1, 3) == pytest.approx(0.57735, abs=1e-5)
    assert allowed_lag(0.25, 3, 3) == pytest.approx(0.40825, abs=1e-5)


def test_a_training_that_fails_ends_its_configuration(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(GRID, Script(curve, disasters={0: [(0, "diverged")]}))
    first = record.trials[0].params["lr"]
    assert dealt(record) == {pair: 1 for pair in EVERYTHING if pair[0] != first} | {(first, 7): 1}
    assert first not in [trial.params["lr"] for trial in record.ranked]


def test_a_list_is_trained_and_nothing_else(run_scripted: RunStudy) -> None:
    plain = {
        "train": {"epochs": 1},
        "search_space": {"lr": {"low": 0.01, "high": 1.0}},
        "start_from": [{"lr": 0.1}, {"lr": 0.5}],
        "budget": {"trials": 6},
        "repeats": {"seeds": 3, "stop_early": False},
    }
    spec = spec_of(plain)
    assert spec.is_list
    for workers in (1, 4):
        named = plain | {"name": f"list-{workers}"}
        _, record, _ = run_scripted(named, Script(lambda config, _: config.number("lr")), workers)
        assert dealt(record) == {(lr, seed): 1 for lr in (0.1, 0.5) for seed in (0, 1, 2)}


def test_a_search_repeats_what_its_sampler_draws(run_scripted: RunStudy) -> None:
    plain = {
        "train": {"epochs": 1},
        "search_space": {"lr": {"low": 0.01, "high": 1.0}},
        "budget": {"trials": 10},
        "repeats": {"seeds": 3, "stop_early": False},
    }
    ending, record, _ = run_scripted(plain, Script(lambda config, _: config.number("lr") / 2))
    counts = Counter(trial.params["lr"] for trial in record.trials)
    assert (ending, sorted(counts.values())) == ("budget", [1, 3, 3, 3])


def test_batches_decide_alike_with_any_number_of_workers(run_scripted: RunStudy) -> None:
    def tried(name: str, workers: int) -> list[tuple[object, object]]:
        _, record, _ = run_scripted(EARLY | {"name": name, "deterministic": 2}, Script(far_apart), workers)
        return [(trial.params["lr"], trial.config["seed"]) for trial in record.trials]

    alone = tried("alone", 1)
    assert tried("two", 2) == alone
    assert len(set(alone)) == len(alone) < 12


def test_each_training_of_a_configuration_has_its_fold(run_scripted: RunStudy) -> None:
    plain = GRID | {"repeats": {"folds": 3, "stop_early": False}}
    executors = ScriptedExecutors(Script(curve), 2)
    run_scripted(plain, executors=executors)
    folds = Counter((job.config["lr"], job.config["seed"], job.data.fold, job.data.folds) for job in executors.jobs)
    assert folds == {(lr, 6 + fold, fold, 3): 1 for lr in (0.1, 0.2, 0.3, 0.4) for fold in (1, 2, 3)}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"repeats": 3}, "4 configurations x 3 seeds (7 to 9) = 12 trainings, fewer where configurations fall behind"),
        (
            {"repeats": {"folds": 3, "stop_early": False}, "budget": {"trials": 9}},
            "4 configurations x 3 folds, with seeds 7 to 9 = 12 trainings; budget.trials counts trainings, and ends "
            "the study after 9 of them",
        ),
        (
            {"repeats": 3, "sampler": {"name": "random"}, "budget": {"trials": 30}},
            "budget.trials counts trainings; 30 are 10 configurations x 3 seeds (7 to 9)",
        ),
    ],
)
def test_check_says_how_many_trainings_there_will_be(sections: dict[str, Any], words: str) -> None:
    spec = spec_of(GRID | sections)
    assert spec.repeats is not None
    assert repeats_line(spec, spec.repeats) == f"repeats: {words}"


def test_more_seeds_carry_the_trainings_over(run_scripted: RunStudy) -> None:
    _, record, _ = run_scripted(GRID, Script(curve))
    more = spec_of(GRID | {"repeats": {"seeds": 4, "stop_early": False}})
    carried = carry(record.study.get_trials(), record.spec, more, "test@1")
    assert len(carried.trials) == 12
    assert [trial.user_attrs[attributes.REPEAT] for trial in carried.trials] == [each.repeat for each in record.trials]
    other = spec_of(GRID | {"repeats": {"seeds": 2, "stop_early": False}, "train": {"epochs": 1, "seed": 8}})
    carried = carry(record.study.get_trials(), record.spec, other, "test@1")
    assert sorted({trial.user_attrs[attributes.REPEAT] for trial in carried.trials}) == [1, 2]
    assert len(carried.left) == 1, "those of seed 7"


def test_a_grid_over_seeds_becomes_one_with_repeats(run_scripted: RunStudy) -> None:
    space = GRID["search_space"]
    searched = {key: value for key, value in GRID.items() if key != "repeats"} | {
        "pruner": {"name": "none"},
        "train": {"epochs": 1},
        "search_space": {**space, "seed": {"choices": [7, 8, 9]}},
    }
    _, record, _ = run_scripted(searched, Script(curve))
    carried = carry(record.study.get_trials(), record.spec, spec_of(GRID), "test@1")
    assert {(trial.params["lr"], trial.user_attrs[attributes.REPEAT]) for trial in carried.trials} == {
        (lr, repeat) for lr in (0.1, 0.2, 0.3, 0.4) for repeat in (1, 2, 3)
    }
    assert all(set(trial.params) == {"lr"} for trial in carried.trials)
