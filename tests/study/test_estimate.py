"""How long it will take, with and without `budget.timeout`."""

import pytest

from cifar_tune.study.budget import Estimate, within_budget

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


def test_what_is_left_is_never_more_than_the_budget_allows() -> None:
    spec = spec_of({"budget": {"timeout": "1h"}})
    assert [within_budget(spec, 9000.0, elapsed) for elapsed in (0.0, 3000.0, 5000.0)] == [3600.0, 600.0, 0.0]
    assert within_budget(spec_of({}), 9000.0, 5000.0) == 9000.0
