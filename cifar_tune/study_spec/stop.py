"""The section `stop` of a study file: when a study ends before its budget is used up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.study_spec.problems import Problems
from cifar_tune.study_spec.search_space import read_value
from cifar_tune.study_spec.settings import Objective, as_mapping
from cifar_tune.wording import counted

FACTOR = Knob("factor", Kind.FLOAT, 0.1, "of the scatter of one training", low=0.0, high=1.0, low_open=True)
FEWEST = 30
"""Completed trials, below which `when: noise` says nothing."""

WITHOUT_GAIN = Knob("after_trials_without_gain", Kind.INT, 40, "trials in a row without a new best", low=1)

_EXAMPLE = "{when: noise, factor: 0.1} or {after_trials_without_gain: 40}"
_ACCURACIES = ("val_accuracy", "best_val_accuracy")


@dataclass(frozen=True, slots=True)
class StopSpec:
    """One of two rules; the other one is None.

    Attributes:
        factor: of `when: noise`: stop when the last trials are worth less than so much of the scatter of a training.
        after_trials_without_gain: stop after this many trials in a row without a new best.
    """

    factor: float | None = None
    after_trials_without_gain: int | None = None

    @property
    def fewest_more(self) -> int:
        """How many more trials a study needs at least, once it was stopped, before the rule can stop it again."""
        return FEWEST if self.after_trials_without_gain is None else self.after_trials_without_gain

    @property
    def needs_words(self) -> str:
        """The same as a sentence without its end: `the rule needs 30 more completed trials`."""
        if self.after_trials_without_gain is None:
            return f"the rule needs {FEWEST} more completed trials"
        return f"the rule needs {counted(self.after_trials_without_gain, 'more trial')} without a new best"

    def plain(self) -> dict[str, Any]:
        """As it stands in a study file."""
        if self.factor is not None:
            return {"when": "noise", FACTOR.name: self.factor}
        return {WITHOUT_GAIN.name: self.after_trials_without_gain}


def read_stop(
    raw: object, objectives: tuple[Objective, ...], searched: Mapping[str, object], problems: Problems
) -> StopSpec | None:
    """Read `stop`; None where it is missing, and where it cannot be used.

    Args:
        raw: what the file says.
        objectives: of the study: only one of them has a best trial, and the noise of an accuracy is known.
        searched: the search space: where `seed` is searched, configurations repeat.
        problems: receives what is wrong.
    """
    if raw is None:
        return None
    before = problems.count
    values = as_mapping(raw, ("stop",), _EXAMPLE, problems)
    if problems.count > before:
        return None
    for key in values:
        if key not in ("when", FACTOR.name, WITHOUT_GAIN.name):
            problems.unknown_key(("stop", key), ("when", FACTOR.name, WITHOUT_GAIN.name))
    if problems.count > before:
        return None
    if ("when" in values) == (WITHOUT_GAIN.name in values):
        problems.add(("stop",), f"must hold one rule: {_EXAMPLE}")
        return None
    if len(objectives) > 1:
        problems.add(("stop",), "works only with one objective: several have no single best trial")
    if WITHOUT_GAIN.name in values:
        if FACTOR.name in values:
            problems.add(("stop", FACTOR.name), "belongs to {when: noise}", values[FACTOR.name])
        count = read_value(WITHOUT_GAIN, values[WITHOUT_GAIN.name], ("stop", WITHOUT_GAIN.name), problems)
        return None if problems.count > before else StopSpec(after_trials_without_gain=cast("int", count))
    if values["when"] != "noise":
        problems.add(("stop", "when"), "must be noise", values["when"], "noise")
    elif objectives[0].metric not in _ACCURACIES and "seed" not in searched:
        rule = (
            f"noise is known of {' and '.join(_ACCURACIES)}, or where `seed` is searched; "
            f"for {objectives[0].metric} take after_trials_without_gain"
        )
        problems.add(("stop", "when"), rule, "noise")
    factor = read_value(FACTOR, values.get(FACTOR.name, FACTOR.default), ("stop", FACTOR.name), problems)
    return None if problems.count > before else StopSpec(factor=cast("float", factor))
