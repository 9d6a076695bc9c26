"""What `run` says to do next."""

from dataclasses import replace

import pytest

from cifar_tune.cli.summary_lines import as_given, outcome_lines
from cifar_tune.study.run import Outcome
from cifar_tune.study_spec.settings import parse_duration
from tests.reports.factory import make_record, make_spec


@pytest.mark.parametrize(
    "given", [["run", "a.yaml", "--timeout", "30s", "--quiet"], ["run", "a.yaml", "--timeout=30s", "--quiet"]]
)
def test_the_next_command_has_one_timeout(given: list[str]) -> None:
    spec = make_spec(budget={"trials": 50, "timeout": "30s"})
    outcome = Outcome("timeout", make_record(spec, []))
    lines = outcome_lines(outcome, spec, given)
    assert lines[-2].startswith("the time of all runs counts together")
    assert lines[-1] == "go on with: cifar-tune run a.yaml --quiet --timeout 1m"
    stopped = replace(outcome, ending="interrupted")
    assert f"go on with: cifar-tune {' '.join(given)}" in outcome_lines(stopped, spec, given)


@pytest.mark.parametrize(
    ("rule", "trials", "needs"),
    [
        ({"when": "noise"}, 130, "the rule needs 30 more completed trials before it can stop the study again"),
        ({"after_trials_without_gain": 1}, 101, "the rule needs 1 more trial without a new best before"),
        ({"after_trials_without_gain": 40}, 140, "the rule needs 40 more trials without a new best before"),
    ],
)
def test_a_larger_budget_is_advised_with_its_reason(rule: dict[str, object], trials: int, needs: str) -> None:
    spec = make_spec(budget={"trials": 100}, stop=rule)
    lines = outcome_lines(Outcome("stopped", make_record(spec, [])), spec, ["run", "a.yaml"])
    assert lines[-2].startswith(f"it can go on with more than the 100 trials of its budget; {needs}")
    assert lines[-1] == f"go on with: cifar-tune run a.yaml --trials {trials}"


@pytest.mark.parametrize("given", ["8h", "90m", "1h30m", "2d", "45s", "0.3s", "1e-3", 7201])
def test_durations_are_given_as_they_are_read(given: str | float) -> None:
    seconds = parse_duration(given)
    assert seconds is None or parse_duration(as_given(seconds)) == pytest.approx(seconds)
