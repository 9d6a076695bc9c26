"""What `run` says to do next."""

from dataclasses import replace

import pytest

from cifar_tune.cli.summary_lines import outcome_lines
from cifar_tune.study.run import Outcome
from tests.reports.factory import make_record, make_spec


@pytest.mark.parametrize(
    "given", [["run", "a.yaml", "--timeout", "30s", "--quiet"], ["run", "a.yaml", "--timeout=30s", "--quiet"]]
)
def test_the_next_command_has_one_timeout(given: list[str]) -> None:
    spec = make_spec()
    outcome = Outcome("timeout", make_record(spec, []))
    assert "go on with: cifar-tune run a.yaml --quiet --timeout LONGER" in outcome_lines(outcome, spec, given)
    stopped = replace(outcome, ending="interrupted")
    assert f"go on with: cifar-tune {' '.join(given)}" in outcome_lines(stopped, spec, given)
