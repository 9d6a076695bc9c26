"""`stop` of a study file: whether a study has found what it can find, decided from its stored trials alone.

A rule stops the drawing of new trials; those that have begun, or that somebody has enqueued, are trained to their end.
The same trials always give the same decision: after a kill, and with any number of workers. With `deterministic: N` a
batch begins or does not, as the trials of earlier batches decide.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.knobs.configuration import as_it_ran
from cifar_tune.statistics.shares import standard_error
from cifar_tune.statistics.stopping import SEEDS_OVER_IMAGES, mean_loss, pooled_scatter
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import may_be_best
from cifar_tune.storage.views import first_of_batch
from cifar_tune.study.trial import digest_of
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.stop import FEWEST, StopSpec

_RECENT = timedelta(hours=1)
_FEWEST_RECENT = 5
_PART_OF_BATCHES = 4


@dataclass(frozen=True, slots=True)
class Stopped:
    """That a rule has stopped a study, as it is stored with it.

    Attributes:
        words: why, with figures, without a full stop.
        rule: as in the study file.
        finished: trials that had ended.
        budget: trials that there could have been.
    """

    words: str
    rule: Mapping[str, Any]
    finished: int
    budget: int

    def plain(self) -> dict[str, Any]:
        """The fields by name."""
        return {"words": self.words, "rule": dict(self.rule), "finished": self.finished, "budget": self.budget}


class Stopping:
    """Decides for one run of a study. With no rule it never stops it."""

    def __init__(self, study: optuna.Study, spec: StudySpec) -> None:
        self._study = study
        self._spec = spec
        self._since = int(study.user_attrs.get(attributes.STOP_SINCE, 0))
        self._seen = (-1, -1)
        self._same: dict[int, bytes] = {}  # by trial: equal where only the seeds differ
        self.words: str | None = None

    def take_up(self) -> str | None:
        """Begin a run of a study that an earlier one may have stopped; returns what there is to say.

        With more `budget.trials` than it was stopped with it goes on, and the rule counts from zero.
        """
        stored = self._study.user_attrs.get(attributes.STOPPED)
        if stored is None:
            return None
        goes_on = self._spec.stop is not None and self._spec.budget.trials > stored["budget"]
        if goes_on:  # first: a run that is killed after the next line is not one that goes on
            self._since = len(self._study.get_trials(deepcopy=False))
            self._study.set_user_attr(attributes.STOP_SINCE, self._since)
        self._study.set_user_attr(attributes.STOPPED, None)  # written again where the rule holds all the same
        if not goes_on:
            return None
        return (
            f"the study was stopped after {stored['finished']:,} trials ({stored['words']}); with a larger budget it "
            f"goes on, and `stop` counts from trial {self._since} on"
        )

    def holds(self, next_number: int, finished: int) -> bool:
        """Whether no new trial is to be drawn; `words` then say why.

        Args:
            next_number: of the trial that would be drawn.
            finished: how many trials have ended.
        """
        if self._spec.stop is None:
            return False
        size = self._spec.deterministic
        until = next_number if size is None else first_of_batch(next_number, size)
        seen = (until, finished) if size is None else (until, 0)
        if seen != self._seen:
            self._seen = seen
            self.words = self._reason(self._spec.stop, until)
        return self.words is not None

    def write(self, finished: int, words: str = "") -> None:
        """Store that it holds; or that something else with these words left fewer trials than the budget has."""
        rule = {} if self._spec.stop is None else self._spec.stop.plain()
        stopped = Stopped(self.words or words, rule, finished, self._spec.budget.trials)
        self._study.set_user_attr(attributes.STOPPED, stopped.plain())

    def _reason(self, rule: StopSpec, until: int) -> str | None:
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if trial.number < until]
        able = [trial for trial in trials if trial.state == TrialState.COMPLETE and self._counts(trial)]
        if rule.factor is not None:
            return self._noise(able, rule.factor)
        return self._without_gain(trials, able, rule.after_trials_without_gain or 1)

    def _counts(self, trial: FrozenTrial) -> bool:
        return may_be_best(trial, self._spec.constraints) and all(map(math.isfinite, trial.values))

    def _without_gain(self, trials: Sequence[FrozenTrial], able: Sequence[FrozenTrial], most: int) -> str | None:
        if not able:
            return None
        best = max(able, key=lambda trial: (self._good(trial), -trial.number))
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        since = sum(trial.state in ended and trial.number > max(best.number, self._since - 1) for trial in trials)
        if since < most:
            return None
        if best.number < self._since:
            return f"none of the {since:,} trials from {self._since} on was better than trial {best.number}"
        return f"none of the {since:,} trials after trial {best.number}, the best one, was better"

    def _noise(self, able: Sequence[FrozenTrial], factor: float) -> str | None:
        count = len(able)
        if sum(trial.number >= self._since for trial in able) < FEWEST:
            return None
        scatter, source = self._scatter(able)
        without = self._recent(able)
        loss = mean_loss([self._good(trial) for trial in able], without)
        if loss >= factor * scatter:
            return None
        unit, scale = ("points", 100.0) if self._is_accuracy else ("", 1.0)
        shown, limit = (f"{value * scale:.3g} {unit}".rstrip() for value in (loss, scatter))
        return (
            f"without {without} of the {count:,} completed trials the best would be only {shown} worse in the mean, "
            f"less than {factor:g} times the {limit} by which trainings of one configuration scatter ({source})"
        )

    def _scatter(self, able: Sequence[FrozenTrial]) -> tuple[float, str]:
        """The standard deviation of trainings that differ in their seed alone, and where it is from."""
        groups: dict[bytes, list[float]] = {}
        for trial in able:
            groups.setdefault(self._without_seed(trial), []).append(self._good(trial))
        repeated = [group for group in groups.values() if len(group) > 1]
        found = pooled_scatter(repeated)
        if found is not None:
            return found, f"measured on {len(repeated):,} repeated ones"
        images = int((self._study.user_attrs.get(attributes.DATA) or {}).get("val_images") or 0)
        if not self._is_accuracy or not images:
            return 0.0, "unknown"
        share = max(self._good(trial) for trial in able)
        return SEEDS_OVER_IMAGES * standard_error(share, images), f"estimated from {images:,} validation images"

    def _without_seed(self, trial: FrozenTrial) -> bytes:
        if trial.number not in self._same:
            config = as_it_ran(trial.user_attrs[attributes.CONFIG], self._spec.vocabulary)
            self._same[trial.number] = digest_of({name: value for name, value in config.items() if name != "seed"})
        return self._same[trial.number]

    def _recent(self, able: Sequence[FrozenTrial]) -> int:
        """How many trials are taken away in thought: those of the last hour, between 5 and half of all.

        A clock would not be the same in every run of a `deterministic` study: there it is a quarter of all.
        """
        count = len(able)
        recent = count // _PART_OF_BATCHES
        ends = [trial.datetime_complete for trial in able if trial.datetime_complete is not None]
        if self._spec.deterministic is None and ends:
            recent = sum(each > max(ends) - _RECENT for each in ends)
        return max(_FEWEST_RECENT, min(recent, count // 2))

    @property
    def _is_accuracy(self) -> bool:
        return self._spec.objective.metric in ("val_accuracy", "best_val_accuracy")

    def _good(self, trial: FrozenTrial) -> float:
        """Its value, higher is better."""
        value = float(trial.values[0])
        return value if self._spec.objective.direction == "maximize" else -value
