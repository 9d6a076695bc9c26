"""The time that a study has used over all runs, and an estimate of how long it will take."""

import time

import optuna

from cifar_tune.storage import attributes
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import EpochResult
from cifar_tune.wording import counted, estimated_duration, rough_duration

_CLOCK_SECONDS = 5.0


class ElapsedTime:
    """Goes on from what earlier runs have used; written often enough that a run which is killed loses next to none."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._since: float | None = time.monotonic()
        self._before = self._written = float(study.user_attrs.get(attributes.ELAPSED, 0.0))

    @property
    def seconds(self) -> float:
        """So much of `budget.timeout` is used up."""
        return self._before if self._since is None else self._before + time.monotonic() - self._since

    def let_count(self, counts: bool) -> None:
        """Whether time counts from now on: it does not while a study waits for executors."""
        if counts and self._since is None:
            self._since = time.monotonic()
        elif not counts and self._since is not None:
            self._before, self._since = self.seconds, None

    def write(self) -> None:
        """Store it."""
        self._written = self.seconds
        self._study.set_user_attr(attributes.ELAPSED, round(self._written, 1))

    def write_if_due(self) -> None:
        """Store it unless that was done a moment ago."""
        if self.seconds - self._written >= _CLOCK_SECONDS:
            self.write()


class Estimate:
    """Says after the first epochs how long the rest can take: once, and again where the number of workers changes."""

    def __init__(self, spec: StudySpec, workers: int) -> None:
        self._spec = spec
        self._workers = workers
        self._given = False

    def resize(self, workers: int) -> None:
        """Count on this many executors from now on."""
        self._given = self._given and workers == self._workers
        self._workers = workers

    def after(self, result: EpochResult, finished: int, elapsed: float, strangers: int = 0) -> str | None:
        """A sentence after the second epoch that is seen (the first one warms up), or the only one; else None.

        Args:
            result: the epoch.
            finished: trials that have ended.
            elapsed: seconds of `budget.timeout` that are used up.
            strangers: see `most_trials`.
        """
        if self._given or not self._workers or (result.epoch < 2 and self._spec.largest_epochs > 1):
            return None
        self._given = True
        trials = most_trials(self._spec, strangers) - finished
        epochs = self._spec.largest_epochs
        seconds = result.seconds * epochs * trials / self._workers
        at_a_time = f", {self._workers} at a time" if self._workers > 1 else ""
        return (
            f"estimated from the first epochs: {estimated_duration(seconds)}{pruned_words(self._spec)} "
            f"({result.seconds:.2g} s per epoch, {counted(epochs, 'epoch')}, {counted(trials, 'trial')}"
            f"{at_a_time}){timeout_words(self._spec, seconds, elapsed)}"
        )


def pruned_words(spec: StudySpec) -> str:
    """What is to be added to an estimate that counts all epochs; nothing where no pruner takes part."""
    return "" if spec.pruner.name == "none" else " if no trial is pruned"


def most_trials(spec: StudySpec, strangers: int = 0) -> int:
    """How many trials there can be: the budget, or every combination where each is tried once (or `repeats` times).

    Args:
        spec: of the study.
        strangers: ended trials that tried no combination here, but count against the budget: another program's.
    """
    size = spec.space.size() if spec.sampler.name == "grid" else None
    return spec.budget.trials if size is None else min(size * spec.trainings + strangers, spec.budget.trials)


def within_budget(spec: StudySpec, seconds: float, elapsed: float) -> float:
    """How long the rest takes, which would take this many seconds, where `elapsed` of `budget.timeout` are used up."""
    return seconds if spec.budget.timeout is None else min(seconds, max(0.0, spec.budget.timeout - elapsed))


def timeout_words(spec: StudySpec, seconds: float, elapsed: float) -> str:
    """What is to be added to such an estimate where the time ends first; else nothing."""
    left = within_budget(spec, seconds, elapsed)
    return f"; budget.timeout ends it after {rough_duration(left)}" if left < seconds else ""
