"""Which configurations of a study with `repeats` have fallen behind, so that they are trained no further.

Configuration C has fallen behind after r of R trainings if the mean of their values is worse than that of the best
configuration with all R by more than 2 sigma sqrt(1/r + 1/R), where sigma is the standard deviation of trainings of one
configuration. The stored trials alone decide it, again each time: one that had fallen behind goes on if sigma turns out
to be larger.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial

from cifar_tune.statistics.shares import standard_error
from cifar_tune.statistics.stopping import SEEDS_OVER_IMAGES, pooled_scatter
from cifar_tune.storage.constraints import is_feasible
from cifar_tune.storage.means import Key, Trainings, by_configuration, completed_values
from cifar_tune.study_spec.specification import StudySpec

_DEVIATIONS = 2.0
_ACCURACIES = ("val_accuracy", "best_val_accuracy")


@dataclass(frozen=True, slots=True)
class Course:
    """How far a configuration has come.

    Attributes:
        trainings: all that have begun.
        values: of those that have completed, higher is better.
        is_running: whether one of them has not ended yet.
        is_out: whether one of them ended without a value, or breaks a constraint, so that it cannot be the best.
    """

    trainings: Trainings
    values: Sequence[float]
    is_running: bool
    is_out: bool

    @property
    def params(self) -> Mapping[str, Any]:
        """What the sampler suggested."""
        return next(iter(self.trainings.values())).params

    @property
    def first(self) -> int:
        """The number of its first trial."""
        return min(trial.number for trial in self.trainings.values())

    @property
    def mean(self) -> float:
        """Of its values; minus infinity without any."""
        return fmean(self.values) if self.values else -math.inf


def courses(trials: Iterable[FrozenTrial], spec: StudySpec, until: float = math.inf) -> dict[Key, Course]:
    """All configurations that have begun, in their order.

    Args:
        trials: of the study.
        spec: its specification.
        until: trials from this number on count as running.
    """
    sign = 1 if spec.objective.direction == "maximize" else -1
    found = {}
    for key, trainings in by_configuration(trials).items():
        ended = {
            repeat: trial for repeat, trial in trainings.items() if trial.state.is_finished() and trial.number < until
        }
        values = [sign * each[0] for each in completed_values(ended)]
        is_able = len(values) == len(ended) and all(map(math.isfinite, values))
        keeps = all(is_feasible(trial, spec.constraints) for trial in ended.values())
        found[key] = Course(trainings, values, len(ended) < len(trainings), not (is_able and keeps))
    return found


def fallen_behind(each: Mapping[Key, Course], spec: StudySpec, val_images: int) -> dict[Key, str]:
    """Those that have fallen behind, each with a sentence that says so.

    Args:
        each: all configurations.
        spec: of the study.
        val_images: as many are validated on; 0 if that is unknown. Until enough trainings are repeated, the
            scatter of an accuracy is estimated from it.
    """
    repeats = spec.repeats
    if repeats is None or not repeats.stop_early or spec.has_several_objectives:
        return {}
    able = [course for course in each.values() if not course.is_out]
    whole = [course for course in able if len(course.values) == repeats.count]
    if not whole:
        return {}
    best = max(whole, key=lambda course: (course.mean, -course.first))
    sigma = _scatter([course.values for course in able], spec, val_images)
    if sigma is None:
        return {}
    found = {}
    for key, course in each.items():
        count = len(course.values)
        allowed = allowed_lag(sigma, count, repeats.count) if 0 < count < repeats.count else math.inf
        if not course.is_out and best.mean - course.mean > allowed:
            found[key] = _words(course, best, allowed, spec)
    return found


def allowed_lag(sigma: float, trained: int, repeats: int) -> float:
    """How far a mean over this many of the trainings may lie behind a mean over all: two standard errors.

    Args:
        sigma: the standard deviation of trainings of one configuration.
        trained: r, how many trainings the configuration has.
        repeats: R, how many the best one has.
    """
    return _DEVIATIONS * sigma * math.sqrt(1 / trained + 1 / repeats)


def _scatter(values: Sequence[Sequence[float]], spec: StudySpec, val_images: int) -> float | None:
    """The standard deviation of trainings of one configuration; None where nothing is known of it.

    If few validation images gave each training of a configuration the same figure, that is no certainty.
    """
    found = pooled_scatter([each for each in values if len(each) > 1]) or None
    if found is not None or spec.objective.metric not in _ACCURACIES or not val_images:
        return found
    best = max(fmean(each) for each in values if each)
    return SEEDS_OVER_IMAGES * standard_error(min(max(best, 0.0), 1.0), val_images)


def _words(course: Course, best: Course, allowed: float, spec: StudySpec) -> str:
    unit, scale = (" points", 100.0) if spec.objective.metric in _ACCURACIES else ("", 1.0)
    numbers = ", ".join(str(trial.number) for _, trial in sorted(best.trainings.items()))
    return (
        f"the configuration of trial {course.first} has fallen behind, and is trained no further: after "
        f"{len(course.values)} of {spec.trainings} trainings its mean is {(best.mean - course.mean) * scale:.3g}{unit} "
        f"worse than that of the best configuration (trials {numbers}), more than {allowed * scale:.3g}"
    )
