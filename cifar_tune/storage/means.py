"""Configurations that are trained several times (`repeats`), as one trial each that has the means of its trainings.

What is ranked, chosen, exported and analysed is such a trial: that of the last training, with means for its values.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, TypeVar

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import is_feasible, is_repetition, was_finished_elsewhere
from cifar_tune.study_spec.specification import StudySpec

Name = TypeVar("Name")

Key = tuple[tuple[str, str], ...]
"""What tells one configuration from another: its searched knobs."""

Trainings = Mapping[int, FrozenTrial]
"""The trials of one configuration by their repeat, from 1."""

MEAN_OF = "mean_of"
"""In the user attributes of a trial with means, never in the database: `Repeated`."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """The trainings that a mean is made of.

    Attributes:
        numbers: of the trials, in the order of their repeats.
        values: of each training, all objectives.
        seconds: of each training.
    """

    numbers: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    seconds: tuple[float, ...]

    @property
    def means(self) -> tuple[float, ...]:
        """Of each objective."""
        return tuple(fmean(each) for each in zip(*self.values, strict=True))

    @property
    def standard_errors(self) -> tuple[float, ...]:
        """Of the mean of each objective, over the trainings; 0 where there is one training alone."""
        count = len(self.values)
        return tuple(stdev(each) / math.sqrt(count) if count > 1 else 0.0 for each in zip(*self.values, strict=True))


def key_of(params: Mapping[str, Any]) -> Key:
    """What tells the configuration with these searched knobs from others."""
    return tuple(sorted((name, repr(value)) for name, value in params.items()))


def by_configuration(trials: Iterable[FrozenTrial]) -> dict[Key, dict[int, FrozenTrial]]:
    """The trials of each configuration by their repeat, in the order in which configurations began.

    Trials that have no repeat are left out: those of another program, and those that have yet to be asked for.
    """
    found: dict[Key, dict[int, FrozenTrial]] = {}
    for trial in trials:
        repeat = trial.user_attrs.get(attributes.REPEAT)
        if repeat is None or is_repetition(trial):
            continue
        own = found.setdefault(key_of(trial.params), {})
        if repeat not in own or own[repeat].state != TrialState.COMPLETE:
            own[repeat] = trial
    return found


def completed_values(trainings: Trainings) -> list[tuple[float, ...]]:
    """The objectives of those that this program trained to their end, in the order of their repeats."""
    return [tuple(trial.values) for _, trial in sorted(trainings.items()) if _counts(trial)]


def mean_trial(trainings: Trainings, spec: StudySpec) -> FrozenTrial | None:
    """The trial that stands for a configuration; None as long as one of its trainings is missing.

    It is a copy of the last training's, with the means of values, metrics, reports and seconds. A configuration keeps
    the constraints where each training does.
    """
    own = [trainings[repeat] for repeat in range(1, spec.trainings + 1) if repeat in trainings]
    if len(own) < spec.trainings or not all(map(_counts, own)):
        return None
    last = copy.copy(own[-1])
    repeated = Repeated(
        tuple(trial.number for trial in own),
        tuple(tuple(trial.values) for trial in own),
        tuple(float(trial.user_attrs.get(attributes.SECONDS, 0.0)) for trial in own),
    )
    last.values = list(repeated.means)
    last.intermediate_values = _means([trial.intermediate_values for trial in own])
    last.user_attrs = last.user_attrs | {MEAN_OF: repeated, attributes.SECONDS: fmean(repeated.seconds)}
    if attributes.METRICS in last.user_attrs:
        last.user_attrs[attributes.METRICS] = _means([trial.user_attrs.get(attributes.METRICS, {}) for trial in own])
    broken = next((trial for trial in own if is_feasible(trial, spec.constraints) is False), None)
    if broken is not None:
        last.system_attrs = broken.system_attrs
    return last


def mean_trials(trials: Iterable[FrozenTrial], spec: StudySpec) -> list[FrozenTrial]:
    """Those of all configurations whose trainings have all completed, in the order of their numbers."""
    found = [mean_trial(trainings, spec) for trainings in by_configuration(trials).values()]
    return sorted((trial for trial in found if trial is not None), key=lambda trial: trial.number)


def judged(trials: Sequence[FrozenTrial], spec: StudySpec) -> Sequence[FrozenTrial]:
    """What is ranked and analysed: the trials themselves, or with `repeats` those that stand for configurations."""
    return trials if spec.repeats is None else mean_trials(trials, spec)


class Means:
    """Makes the trials that stand for configurations while trainings end, one after the other."""

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._trainings: dict[Key, dict[int, FrozenTrial]] = {}

    def add(self, trial: FrozenTrial) -> FrozenTrial | None:
        """One more trial has ended; returns what stands for its configuration, if it was the last one missing.

        Without `repeats` that is the trial itself.
        """
        if self._spec.repeats is None:
            return trial
        for key, own in by_configuration([trial]).items():
            trainings = self._trainings.setdefault(key, {})
            if mean_trial(trainings, self._spec) is None:
                trainings |= own
                return mean_trial(trainings, self._spec)
        return None


def _counts(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE and not was_finished_elsewhere(trial)


def _means(each: Sequence[Mapping[Name, float]]) -> dict[Name, float]:
    """The mean of what all of them have."""
    return {name: fmean(one[name] for one in each) for name in each[0] if all(name in one for one in each)}
