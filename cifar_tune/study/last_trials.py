"""The last trials of a study begin in the order of their length, so that a long one does not begin last.

It would train alone while all other executors have nothing left to do. So, where trials differ in length, the last ones
are drawn from the sampler together and wait, and those that should take longest begin first (list scheduling by longest
processing time, Graham 1969).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import trial_id
from cifar_tune.storage import attributes
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.asking import waiting_trials
from cifar_tune.study.trial import RunningTrial
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.specification import StudySpec

FEWEST_KNOWN = 5
"""Trials that have ended, below which nothing is said."""
_PENALTY = 1.0
_NEARLY_CONSTANT = 1e-6


def whole_seconds(ended: Sequence[FrozenTrial]) -> list[float]:
    """Seconds that the whole training of each trial takes at the speed of its epochs, had it not been pruned.

    First epochs warm up, so that trials of two and more epochs speak for all where there are enough of them.
    """
    known = list(_known(ended))
    longer = [each for each in known if each[2] >= 2]
    return [seconds * config["epochs"] for config, seconds, _ in (longer if len(longer) >= FEWEST_KNOWN else known)]


def expected_logarithms(ended: Sequence[FrozenTrial], waiting: Sequence[FrozenTrial]) -> list[float] | None:
    """The logarithm of the seconds that each waiting trial should still take if it is not pruned; None if unknown.

    The logarithm of the seconds per epoch is fitted by ridge regression on the knobs (logarithms of positive numbers,
    one indicator per other value), since what makes a training longer, such as width, does so by a factor.
    """
    known = list(_known(ended))
    if len(known) < FEWEST_KNOWN:
        return None
    configs = [trial.user_attrs[attributes.CONFIG] for trial in waiting]
    features = _features([config for config, *_ in known] + configs)
    logarithms = np.log([seconds for _, seconds, _ in known])
    per_epoch = _ridge(features[: len(known)], logarithms, features[len(known) :])
    left = [max(config["epochs"] - _epochs(trial), 1) for config, trial in zip(configs, waiting, strict=True)]
    return [float(value) for value in per_epoch + np.log(left)]


def _known(ended: Sequence[FrozenTrial]) -> Iterator[tuple[Mapping[str, Any], float, int]]:
    """Configurations, seconds per epoch, and epochs."""
    for trial in ended:
        epochs, seconds = _epochs(trial), float(trial.user_attrs.get(attributes.SECONDS, 0.0))
        if epochs and seconds and attributes.CONFIG in trial.user_attrs:  # a repeated trial took no time
            yield trial.user_attrs[attributes.CONFIG], seconds / epochs, epochs


def _epochs(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get(attributes.EPOCHS, 0))


def _features(configs: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
    """One row per configuration; columns for all that differs or not."""
    rows = [dict(_feature(name, value) for name, value in config.items()) for config in configs]
    columns = sorted({name for row in rows for name in row})
    return np.array([[row.get(name, 0.0) for name in columns] for row in rows])


def _feature(name: str, value: object) -> tuple[str, float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return name, math.log(value) if value > 0 else -10.0
    return f"{name}={value}", 1.0


def _ridge(
    features: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], asked: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Predictions of ridge regression on standardized features, with an intercept that is not penalized."""
    mean, scale = features.mean(0), features.std(0)
    scale[scale < _NEARLY_CONSTANT] = math.inf  # what has not varied says nothing
    standardized = (features - mean) / scale
    gram = standardized.T @ standardized + _PENALTY * np.eye(len(mean))
    weights = np.linalg.solve(gram, standardized.T @ (targets - targets.mean()))
    predictions: npt.NDArray[np.float64] = targets.mean() + (asked - mean) / scale @ weights
    return predictions


PER_WORKER = 2
"""Trials that are drawn together, at most, for each executor."""

SHARE = 1 / 3
"""Of a study's trials, at most this many are drawn without the results of the others among them."""

_MOST_PER_WORKER = 50
"""With more trials in all for each executor, its idle time at the end is less than a hundredth of the study."""

_DIFFERENT = 1.5
"""The length below which a tenth of the trials lies and that above which a tenth lies: their ratio has to be larger."""


class LastTrials:
    """Decides when the last trials are drawn, and in which order they begin."""

    def __init__(
        self,
        study: optuna.Study,
        storage: WriteBehindStorage,
        spec: StudySpec,
        trials: int,
        note: Callable[[str], None],
    ) -> None:
        """`trials` is how many there will be in all; `note` is told once when they do not begin in their order."""
        self._note = note
        self._is_told = False
        self._study = study
        self._storage = storage
        self._spec = spec
        self._trials = trials

    def draw(self, left: int, workers: int, trials: Iterator[RunningTrial], is_stopped: Callable[[], bool]) -> None:
        """Draw all that are left and let them wait, where the end is near and nothing waits already.

        Args:
            left: how many trials have not begun.
            workers: executors that train at a time.
            trials: draws one after the other, for as long as there is anything left to try.
            is_stopped: whether somebody asks to stop meanwhile.
        """
        if not self._is_near(left, workers) or waiting_trials(self._study) or not self._lengths_differ():
            return
        drawn: list[RunningTrial] = []  # they run until all are drawn, so that the sampler keeps away from them
        for running in trials:
            drawn.append(running)
            if len(drawn) == left or is_stopped():
                break
        for running in drawn:
            self._storage.set_trial_state_values(trial_id(running.trial), TrialState.WAITING)

    def next_waiting(self, left: int) -> FrozenTrial | None:
        """The parked or enqueued trial that is next: the longest, where no others are left; None if none waits.

        Those whose parameters the sampler has yet to complete come first then, in their order.
        """
        waiting = waiting_trials(self._study)
        if len(waiting) < max(left, 2) or self._spec.deterministic is not None:
            return waiting[0] if waiting else None
        unknown = [trial for trial in waiting if attributes.CONFIG not in trial.user_attrs]
        expected = None if unknown else expected_logarithms(self._ended(), waiting)
        if expected is None:
            return (unknown or waiting)[0]
        longest = int(np.argmax(expected))
        if longest > 0 and not self._is_told:
            self._is_told = True
            self._note(
                "the last trials begin longest first, not by their numbers, so that no long one runs alone at the end"
            )
        return waiting[longest]

    def _is_near(self, left: int, workers: int) -> bool:
        if self._spec.repeats is not None:
            return False  # whether a configuration is trained once more depends on the results of the others
        if self._spec.deterministic is not None or SAMPLERS[self._spec.sampler.name].draws_slowly:
            return False  # in batches, what a trial sees of others is fixed
        is_worth_it = workers > 1 and self._trials <= _MOST_PER_WORKER * workers
        return is_worth_it and 1 < left <= min(PER_WORKER * workers, SHARE * self._trials)

    def _lengths_differ(self) -> bool:
        seconds = whole_seconds(self._ended())
        if len(seconds) < FEWEST_KNOWN:
            return False
        short, long = np.quantile(seconds, (0.1, 0.9))
        return bool(long >= _DIFFERENT * short)

    def _ended(self) -> Sequence[FrozenTrial]:
        states = (TrialState.COMPLETE, TrialState.PRUNED)
        return self._study.get_trials(deepcopy=False, states=states)
