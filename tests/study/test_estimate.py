"""How long it will take, with and without `budget.timeout`."""

import pytest

from cifar_tune.study.budget import Estimate, most_trials, within_budget
from cifar_tune.wording import estimated_duration

from .conftest import spec_of
from .scripted import result


@pytest.mark.parametrize(
    ("timeout", "elapsed", "wanted"),
    [
        (None, 0.0, "2 at a time)"),
        ("1h", 0.0, "2 at a time)"),
        ("40s", 10.0, "2 at a time); budget.timeout ends it after 30 s"),
        ("40s", 50.0, "2 at a time); budget.timeout ends it after 0 s"),
    ],
)
def test_the_time_of_the_budget_ends_it_first(timeout: str | None, elapsed: float, wanted: str) -> None:
    budget = {"trials": 20} | ({} if timeout is None else {"timeout": timeout})
    estimate = Estimate(spec_of({"budget": budget, "train": {"epochs": 5}}), 2)
    assert estimate.after(result(1, 0.5), 0, elapsed) is None
    said = estimate.after(result(2, 0.5), 0, elapsed)
    assert said is not None
    assert said.startswith("estimated from the first epochs: about 50 s if no trial is pruned")
    assert said.endswith(wanted)
    assert estimate.after(result(3, 0.5), 0, elapsed) is None


@pytest.mark.parametrize(("epochs", "said_after"), [(5, 2), (2, 2), (1, 1)])
def test_one_worker_trains_what_is_not_finished_yet(epochs: int, said_after: int) -> None:
    estimate = Estimate(spec_of({"budget": {"trials": 20}, "train": {"epochs": epochs}}), 1)
    said = [estimate.after(result(epoch, 0.5), 10, 0.0) for epoch in range(1, said_after + 1)]
    assert said[:-1] == [None] * (said_after - 1)
    seconds, counted = {5: ("50", "5 epochs"), 2: ("20", "2 epochs"), 1: ("10", "1 epoch")}[epochs]
    assert said[-1] == (
        f"estimated from the first epochs: about {seconds} s if no trial is pruned "
        f"(1 s per epoch, {counted}, 10 trials)"
    )


@pytest.mark.parametrize(("budget", "most"), [(2, 2), (20, 3)])
def test_a_grid_ends_with_its_last_combination(budget: int, most: int) -> None:
    plain = {"budget": {"trials": budget}, "search_space": {"width": {"choices": [2, 4, 8]}}}
    assert most_trials(spec_of(plain | {"sampler": {"name": "grid"}})) == most
    assert most_trials(spec_of(plain)) == budget


def test_nothing_is_said_of_pruning_where_no_pruner_takes_part() -> None:
    said = Estimate(spec_of({"pruner": {"name": "none"}}), 1).after(result(2, 0.5), 0, 0.0)
    assert said is not None
    assert "pruned" not in said


def test_what_is_left_is_never_more_than_the_budget_allows() -> None:
    spec = spec_of({"budget": {"timeout": "1h"}})
    assert [within_budget(spec, 9000.0, elapsed) for elapsed in (0.0, 3000.0, 5000.0)] == [3600.0, 600.0, 0.0]
    assert within_budget(spec_of({}), 9000.0, 5000.0) == 9000.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "about 0 s"),
        (0.001, "less than a second"),
        (0.9, "less than a second"),
        (0.96, "about 1 s"),
        (300, "about 5 min"),
    ],
)
def test_a_short_time_is_less_than_a_second(seconds: float, words: str) -> None:
    assert estimated_duration(seconds) == words
