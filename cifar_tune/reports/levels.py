"""The levels of a knob: its values, or the parts of its range, each with the trials that had it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean

import numpy as np

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.knobs.part import Scalar
from cifar_tune.reports.objective import finite
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.statistics.paired import mean_half_width
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.records import FINISHED, TrialRecord
from cifar_tune.wording import tick_label

_BINS = 5

IMPARTIAL = ("grid", "qmc", "random")
"""Samplers that do not look at results."""


@dataclass(frozen=True)
class Level:
    """One value of the compared knob, or one part of its range, with its finished trials."""

    label: str
    trials: Sequence[TrialRecord]

    @cached_property
    def completed(self) -> list[TrialRecord]:
        """Trials that ran to their end."""
        return [trial for trial in self.trials if trial.state == "COMPLETE" and finite(trial.value)]

    @cached_property
    def values(self) -> list[float]:
        """The objective of the completed trials; the first one of several."""
        return [trial.value for trial in self.completed if trial.value is not None]

    @cached_property
    def allowed(self) -> list[float]:
        """The objective of the completed trials that keep all constraints."""
        return [trial.value for trial in self.completed if trial.value is not None and trial.feasible]

    @property
    def mean(self) -> float | None:
        """Mean objective of the completed trials."""
        return mean(self.values) if self.values else None

    @property
    def half_width(self) -> float | None:
        """Half of the mean's 95 % confidence interval, after Student; None with fewer than three trials."""
        return mean_half_width(self.values) if len(self.values) > 2 else None

    @property
    def seconds(self) -> float | None:
        """Mean seconds of the completed trials."""
        return mean(trial.seconds for trial in self.completed) if self.completed else None

    @property
    def parameters(self) -> tuple[int, int] | None:
        """Fewest and most parameters of the models."""
        counts = [trial.parameters for trial in self.trials if trial.parameters is not None]
        return (min(counts), max(counts)) if counts else None


def levels_of(report: Report, knob: str, key: str) -> list[Level]:
    """The levels of a knob in their natural order.

    Choices are levels, also those that no trial took; a range is cut into at most five parts of equal width, on a
    logarithmic scale if it was searched on one. Of a knob that was searched `per` another one, the suggested numbers
    are compared. A knob that was not searched has the values that the trials had, if they differ. Errors call it `key`.

    Raises:
        UserError: if there is no such knob, no trial took it, it was the same in all trials, or `finalize` has made the
            study.
    """
    record = report.record
    known = record.spec.vocabulary.knobs
    if (parent := parent_of(record.name)) is not None:
        rule = "was made by finalize, which has planned its trainings: nothing was searched that could be compared"
        raise UserError(Problem(rule, record.name, nearest=parent))
    if knob not in known:
        raise UserError(Problem("there is no such knob", key, knob, nearest=nearest_name(knob, known)))
    taken = [
        trial
        for trial in record.trials
        if knob in trial.config and trial.state in FINISHED and trial.ended_here and not trial.is_repetition
    ]
    if not taken:
        raise UserError(Problem("no finished trial took this knob", key, knob))
    searched = next((each for each in report.knobs if each.name == knob), None)
    if searched is not None and searched.per:
        taken = [trial for trial in taken if knob in trial.params]
    shown = {
        trial.number: (trial.params if searched is not None and searched.per else trial.config)[knob] for trial in taken
    }
    values = set(shown.values())
    if searched is None and len(values) == 1:
        names = ", ".join(record.spec.search_space) or "nothing"
        finished = sum(trial.state in FINISHED for trial in record.trials)
        those = "all trials" if len(taken) == finished else f"the {len(taken)} of {finished} trials that took it"
        raise UserError(Problem(f"was {values.pop()} in {those}; searched: {names}", key, knob))
    if searched is not None and searched.levels is None and len(values) > _BINS:
        return _binned(searched, taken)
    ordered: list[object]
    if searched is not None and searched.levels is not None:
        ordered = [*searched.levels, *_sorted(values - set(searched.levels))]  # those too that nobody tried
    else:
        ordered = [*_sorted(values)]
    return [Level(_label(value), [trial for trial in taken if shown[trial.number] == value]) for value in ordered]


def _binned(knob: SearchedKnob, trials: Sequence[TrialRecord]) -> list[Level]:
    inside = [trial for trial in trials if knob.name in trial.params]
    space = np.geomspace if knob.log else np.linspace
    edges = space(knob.low, knob.high, _BINS + 1)
    positions = np.array([float(trial.params[knob.name]) for trial in inside])
    bins = np.clip(np.searchsorted(edges, positions, side="right") - 1, 0, _BINS - 1)
    levels = [
        Level(
            f"{tick_label(float(f'{edges[index]:.2g}'))} to {tick_label(float(f'{edges[index + 1]:.2g}'))}",
            [trial for trial, bin_ in zip(inside, bins, strict=True) if bin_ == index],
        )
        for index in range(_BINS)
    ]
    return [level for level in levels if level.trials]


def _sorted(values: set[Scalar]) -> list[Scalar]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def listed(values: set[Scalar]) -> str:
    """The values in their order, as words."""
    return " or ".join(_label(value) for value in _sorted(values))


def _label(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
