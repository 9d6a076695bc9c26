import math
import random
from collections.abc import Mapping

import pytest
from optuna.storages import InMemoryStorage

from cifar_tune.cli.whole_process import silence_warnings
from cifar_tune.reports.importance_chance import spread
from cifar_tune.reports.importances import Importances, importances
from cifar_tune.storage.attributes import REASON

from .factory import MadeTrial, make_record, make_spec

TWO = {"momentum": {"low": 0.0, "high": 0.9}, "dropout": {"low": 0.0, "high": 0.9}}


def found(
    search_space: Mapping[str, object], trials: list[MadeTrial], metric: str = "val_accuracy"
) -> Importances | str:
    return importances(make_record(make_spec(search_space, objective={"metric": metric}), trials))


@pytest.mark.parametrize("metric", ["val_accuracy", "val_loss"])
def test_they_come_from_the_best_trials(metric: str) -> None:
    """Near the top momentum alone decides; among the bad trials dropout alone does."""
    random_ = random.Random(0)  # noqa: S311
    trials = []
    for _ in range(400):
        momentum, dropout = random_.uniform(0, 0.9), random_.uniform(0, 0.9)
        accuracy = 0.5 + 0.4 * math.exp(-(((momentum - 0.45) / 0.03) ** 2)) - 0.4 * math.exp(-((dropout / 0.03) ** 2))
        trials.append(
            MadeTrial(
                {"momentum": momentum, "dropout": dropout}, accuracy if metric == "val_accuracy" else 1 - accuracy
            )
        )
    result = found(TWO, trials, metric)
    assert isinstance(result, Importances)
    assert list(result.shares) == ["momentum", "dropout"]
    assert result.shares["momentum"] > 0.9
    assert sum(result.shares.values()) == pytest.approx(1)
    assert (result.completed, result.top) == (400, 40)
    assert result.basis == "the best 40 of 400 completed trials against all of them"


def test_conditional_knobs_are_covered() -> None:
    space = {
        "optimizer": {"choices": ["sgd", "adamw"]},
        "momentum": {"low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}},
    }
    random_ = random.Random(1)  # noqa: S311
    trials = []
    for index in range(100):
        if index % 2:
            trials.append(MadeTrial({"optimizer": "adamw"}, 0.4 + 0.01 * random_.random()))
        else:
            momentum = random_.uniform(0, 0.9)
            trials.append(MadeTrial({"optimizer": "sgd", "momentum": momentum}, 0.3 + 0.5 * momentum))
    result = found(space, trials)
    assert isinstance(result, Importances)
    assert set(result.shares) == {"optimizer", "momentum"}
    assert result.shares["momentum"] > 0.3


@pytest.mark.parametrize(("count", "words"), [(0, "there are none"), (1, "there is one"), (4, "there are 4")])
def test_too_few_trials(count: int, words: str) -> None:
    trials = [MadeTrial({"momentum": 0.1 * n, "dropout": 0.1}, 0.1 * n) for n in range(count)]
    trials.append(MadeTrial({"momentum": 0.1, "dropout": 0.1}, 0.5, "PRUNED"))
    assert found(TWO, trials) == f"Importances need at least 5 completed trials; {words}."


NO_DIFFERENCE = "No knob can be told more important than another: the best trials do not differ from the others."


def test_trials_without_a_difference() -> None:
    same = [MadeTrial({"momentum": 0.1 * index, "dropout": 0.1}, 0.5) for index in range(9)]
    assert found(TWO, same) == NO_DIFFERENCE


def test_a_knob_that_never_changed_has_none() -> None:
    trials = [MadeTrial({"momentum": 0.09 * index, "dropout": 0.1}, 0.1 * index) for index in range(10)]
    result = found(TWO, trials)
    assert isinstance(result, Importances)
    assert result.shares == {"momentum": 1.0, "dropout": 0.0}


def test_nothing_varied() -> None:
    trials = [MadeTrial({"momentum": 0.5, "dropout": 0.1}, 0.05 * index) for index in range(20)]
    assert found(TWO, trials) == NO_DIFFERENCE


def test_no_knob_is_searched() -> None:
    assert found({}, [MadeTrial({}, 0.05 * index) for index in range(20)]) == NO_DIFFERENCE


@pytest.mark.parametrize("count", [5, 9, 30])
def test_no_warning_reaches_the_user(recwarn: pytest.WarningsRecorder, count: int) -> None:
    trials = [MadeTrial({"momentum": 0.9 * n / count, "dropout": 0.1 * (n % 3)}, n / count) for n in range(count)]
    record = make_record(make_spec(TWO), trials)
    silence_warnings()  # as `main` does
    result = importances(record)
    assert isinstance(result, Importances)
    spread(record, result)
    assert not recwarn.list


def test_trials_that_break_a_constraint_are_left_out_and_counted() -> None:
    """Wide nets are the best ones, and forbidden; of those that are allowed, lr decides."""
    space = {"lr": {"low": 0.001, "high": 1.0}, "width": {"low": 8, "high": 64}}
    spec = make_spec(space, constraints=["parameters <= 32000"])
    draw = random.Random(0)  # noqa: S311
    trials = []
    for _ in range(200):
        lr, width = draw.uniform(0.001, 1), draw.randint(8, 64)
        value = 0.9 if width > 32 else 0.2 + 0.5 * lr
        trials.append(MadeTrial({"lr": lr, "width": width}, value, epochs=2, figures={"parameters": 1000.0 * width}))
    result = importances(make_record(spec, trials))
    assert isinstance(result, Importances)
    allowed = sum(trial.figures["parameters"] <= 32000 for trial in trials)
    assert (result.completed, result.infeasible) == (allowed, 200 - allowed)
    assert result.basis.endswith(f"against all of them; {200 - allowed} more, which break a constraint, are left out")
    assert result.shares["lr"] > 0.8
    around = spread(make_record(spec, trials), result)
    assert around is not None
    assert around.completed == allowed


def test_where_all_break_a_constraint_there_are_none() -> None:
    spec = make_spec(TWO, constraints=["val_accuracy >= 0.9"])
    trials = [MadeTrial({"momentum": 0.1 * n, "dropout": 0.1 * n}, 0.1 * n, epochs=2) for n in range(5)]
    words = "Importances need at least 5 completed trials that keep all constraints; there are none."
    assert importances(make_record(spec, trials)) == words


def test_they_need_no_storage_any_more() -> None:
    """A loaded study has closed it."""
    trials = [MadeTrial({"momentum": 0.03 * n, "dropout": 0.02 * n}, 0.03 * n, epochs=2) for n in range(30)]
    storage = InMemoryStorage()
    record = make_record(make_spec(TWO), trials, storage)
    before = importances(record)
    assert isinstance(before, Importances)
    storage.delete_study(record.study._study_id)
    assert importances(record) == before
    assert spread(record, before) is not None


def test_trials_that_another_program_ended_break_no_constraint() -> None:
    spec = make_spec({"lr": {"low": 0.001, "high": 1.0}}, constraints=["parameters <= 32000"])
    figures = {"parameters": 1000.0}
    ours = [MadeTrial({"lr": 0.01 * (1 + n)}, 0.1 + 0.01 * n, epochs=2, figures=figures) for n in range(20)]
    theirs = [MadeTrial({"lr": 0.5}, 0.9, epochs=2, attrs={REASON: None}) for _ in range(3)]
    result = importances(make_record(spec, ours + theirs))
    assert isinstance(result, Importances)
    assert (result.completed, result.infeasible) == (20, 0)
    assert result.basis == "the best 5 of 20 completed trials against all of them"
