"""What a race has decided, and how sure that is: for the command line and for reports."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cifar_tune.statistics.halving import Comparison, MeanInterval, Rung, compare, mean_of_folds
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.race import RaceRecord, race_of
from cifar_tune.study_spec.metrics import Metric

TIED, UNDECIDED, WORSE, WITHDRAWN = "tied", "not decided", "worse", "withdrawn"
"""What fresh values say of a candidate: a finalist that is not told from the best one; one that was dropped before, and
is not told from it either, on fewer trainings; one that is worse; and one whose training failed."""


@dataclass(frozen=True, slots=True)
class RacedTrial:
    """One candidate.

    Attributes:
        trial: its number in the study.
        studied: its objective in the study.
        values: of its fresh trainings, block by block.
        mean: of these; None where there are none.
        rungs: how many of the rungs it entered.
        verdict: TIED, UNDECIDED, WORSE or WITHDRAWN.
        at_most_worse: than the best one that was raced; None where that is unknown, or as much as values can differ.
        failed: the trial of the race in which its training failed; None where none did.
    """

    trial: int
    studied: float
    values: tuple[float, ...]
    mean: float | None
    rungs: int
    verdict: str
    at_most_worse: float | None
    failed: int | None


@dataclass(frozen=True)
class RaceResult:
    """A race that is over.

    Attributes:
        record: the race and its trials.
        ranked: the candidates that were left, the winner first; at least one.
    """

    record: RaceRecord
    ranked: tuple[int, ...]

    @property
    def winner(self) -> RacedTrial:
        """The best of the last rung."""
        return self.candidates[self.ranked[0]]

    @cached_property
    def candidates(self) -> Sequence[RacedTrial]:
        """All that were raced, in the order of the study."""
        race, values = self.record.race, self.record.values
        found = self.comparison
        finalists = set(self.record.standing.entered[-1]) if self._is_whole else set()
        whole_range = self._metric.highest - self._metric.lowest
        rows = []
        for index, trial in enumerate(race.candidates):
            fresh = race.sign * values.fresh[index]
            own = tuple(float(value) for value in fresh[~np.isnan(fresh)])
            worse = float(found.at_most_worse[index])
            verdict = TIED if index in finalists else UNDECIDED
            if not found.tied[index]:
                verdict = WORSE
            if index in values.failed:
                verdict = WITHDRAWN
            rows.append(
                RacedTrial(
                    trial=trial,
                    studied=race.studied[index],
                    values=own,
                    mean=float(np.mean(own)) if own else None,
                    rungs=sum(index in entered for entered in self.record.standing.entered),
                    verdict=verdict,
                    at_most_worse=worse if worse < whole_range else None,
                    failed=values.failed.get(index),
                )
            )
        return rows

    @cached_property
    def comparison(self) -> Comparison:
        """What fresh values say of the candidates."""
        entered = self.record.standing.entered
        rungs = tuple(Rung(len(who), rung.blocks) for who, rung in zip(entered, self.record.race.rungs, strict=False))
        blocks = sum(rung.blocks for rung in rungs)
        return compare(self.record.values.fresh[:, :blocks], rungs, self.ranked[0])

    @cached_property
    def interval(self) -> MeanInterval | None:
        """The winner's mean over the blocks of the last rung, by which it was not chosen to enter it."""
        race = self.record.race
        blocks = race.rungs[-1].blocks if self._is_whole else 0
        if blocks < 2:
            return None
        values = (race.sign * self.record.values.fresh[self.ranked[0], -blocks:]).tolist()
        found = mean_of_folds(values, race.folds[-blocks:])
        metric = self._metric
        return MeanInterval(found.mean, max(metric.lowest, found.low), min(metric.highest, found.high))

    @property
    def _metric(self) -> Metric:
        spec = self.record.finals.spec
        return spec.known_metrics[spec.objective.metric]

    @property
    def mean(self) -> float | None:
        """The winner's mean over the last rung; over all its fresh trainings where there was none. None without any."""
        return self.winner.mean if self.interval is None else self.interval.mean

    @property
    def splits(self) -> int:
        """On how many disjoint sets of images the winner's last trainings were validated; 1 on the study's split."""
        return len(set(self.record.race.folds[-self.record.race.rungs[-1].blocks :]))

    @property
    def _is_whole(self) -> bool:
        """Whether there was a last rung: where nearly all candidates are withdrawn, there may be none."""
        return len(self.record.standing.entered) == len(self.record.race.rungs)

    @property
    def optimism(self) -> float | None:
        """By how much the study's best trial looked better than its fresh trainings; None where it has none."""
        best = self.candidates[0]
        return None if best.mean is None else self.record.race.sign * (best.studied - best.mean)

    def cheapest(self, trials: Sequence[TrialRecord]) -> RacedTrial:
        """The tied finalist with the fewest multiply-adds for an image, then parameters; of equal ones the better one.

        Args:
            trials: of the study.
        """
        cost = {trial.number: (trial.flops or math.inf, trial.parameters or math.inf) for trial in trials}
        tied = [self.candidates[each] for each in self.ranked if self.candidates[each].verdict == TIED]
        return min(tied or [self.winner], key=lambda each: cost.get(each.trial, (math.inf, math.inf)))

    def plain(self, trials: Sequence[TrialRecord]) -> dict[str, Any]:
        """For programs, by name."""
        race, found, found_ends = self.record.race, self.comparison, self.interval
        return {
            "study": self.record.finals.name,
            "trainings": sum(len(each.values) for each in self.candidates),
            "rungs": [[rung.candidates, rung.blocks] for rung in race.rungs],
            "folds": race.uses_folds,
            "winner": self.winner.trial,
            "mean": None if self.interval is None else self.interval.mean,
            "interval": None if found_ends is None or found_ends.is_point else [found_ends.low, found_ends.high],
            "cheapest": self.cheapest(trials).trial,
            "optimism": self.optimism,
            "scatter": None if math.isnan(found.scatter) else found.scatter,
            "candidates": [
                {
                    "trial": each.trial,
                    "studied": each.studied,
                    "values": list(each.values),
                    "mean": each.mean,
                    "rungs": each.rungs,
                    "verdict": each.verdict,
                    "at_most_worse": each.at_most_worse,
                    "failed": each.failed,
                }
                for each in self.candidates
            ],
        }


def result_of(record: RaceRecord) -> RaceResult | None:
    """What a race has decided; None while it is not over, or where every candidate was withdrawn."""
    ranked = record.standing.ranked
    return RaceResult(record, ranked) if ranked else None


def stored_result(record: StudyRecord) -> RaceResult | None:
    """What the race of a study has decided; None where it has none of its own that is over.

    Raises:
        DamagedError: what is stored of it makes no sense.
    """
    race = race_of(record)
    return None if race is None or record.finals is None else result_of(RaceRecord(race, record.finals))
