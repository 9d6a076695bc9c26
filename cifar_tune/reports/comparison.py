"""One knob's levels side by side: the one-factor tables of hand tuning, with what they leave unsaid."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev

import numpy as np

from cifar_tune.reports.conditions import conditions_text
from cifar_tune.reports.levels import IMPARTIAL, Level, levels_of
from cifar_tune.reports.report import Report
from cifar_tune.statistics.paired import Paired, compare_paired, mean_half_width
from cifar_tune.storage.means import key_of
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study_spec.repeats import RepeatsSpec


@dataclass(frozen=True)
class Comparison:
    """The levels of one knob, in their natural order."""

    report: Report
    knob: str
    levels: Sequence[Level]

    def best(self, level: Level) -> float | None:
        """The best objective of a level, among the trials that keep all constraints; with `repeats` the best mean.

        None too where a configuration that lacks trainings makes the level's mean better than its best whole one.
        """
        choose = max if self.report.maximizes else min
        means = self.report.record.means
        if means is None or self.knob == "seed":
            return choose(level.allowed, default=None)
        own = {trial.number for trial in level.completed}
        best = choose(
            (each.value for each in means if each.number in own and each.feasible and each.value is not None),
            default=None,
        )
        return None if best is not None and self._is_passed_by_mean(level, best) else best

    def _is_passed_by_mean(self, level: Level, best: float) -> bool:
        if level.mean is None or not self.lacks_trainings(level):
            return False
        return level.mean > best if self.report.maximizes else level.mean < best

    def standard_error(self, level: Level) -> float | None:
        """Of a level's mean in a study with `repeats`: over its means on each seed or fold; None with fewer than two.

        None too where a configuration of the level has not had all its trainings.
        """
        means = self._means_of_repeats(level)
        if self.repeats is None or self.knob == "seed" or len(means) < 2 or not self._has_all_trainings(level):
            return None
        return stdev(means) / math.sqrt(len(means))

    def _means_of_repeats(self, level: Level) -> list[float]:
        """The mean of a level on each seed or fold."""
        by_repeat: dict[int | None, list[float]] = {}
        for trial, value in zip(level.completed, level.values, strict=True):
            by_repeat.setdefault(trial.repeat, []).append(value)
        return [mean(values) for values in by_repeat.values()]

    @property
    def repeats(self) -> RepeatsSpec | None:
        """How often each configuration is trained; None where it is trained once."""
        return self.report.record.spec.repeats

    def _has_all_trainings(self, level: Level) -> bool:
        """Whether each configuration of a level has completed as often as `repeats` says."""
        if self.knob == "seed":  # of which each level has one
            return True
        counts = Counter(key_of(trial.params) for trial in level.completed)
        tried = {key_of(trial.params) for trial in level.trials}
        return all(counts[key] >= self.report.record.spec.trainings for key in tried)

    def interval(self, level: Level) -> tuple[float, float] | None:
        """The ends of the 95 % interval of a level's mean, within what the objective can be.

        None where `half_width` is None.
        """
        half_width = self.half_width(level)
        if level.mean is None or half_width is None:
            return None
        spec = self.report.record.spec
        metric = spec.known_metrics[spec.objective.metric]
        return max(metric.lowest, level.mean - half_width), min(metric.highest, level.mean + half_width)

    def half_width(self, level: Level) -> float | None:
        """Half of the 95 % interval of a level's mean, after Student.

        None with fewer than three trials, and where `is_random_sample` is False, or a configuration fell behind and was
        trained no further: it would hold the truth too rarely. With `repeats` it is over the seeds or folds, since
        trainings of one configuration, or on one seed, have their luck in common; None with fewer than three of them,
        and where the configurations were drawn, so that others would have been as good a sample.
        """
        if not self.is_random_sample or self.lacks_trainings(level):
            return None
        if self.repeats is None or self.knob == "seed":
            return level.half_width
        means = self._means_of_repeats(level)
        is_drawn = self.report.record.spec.sampler.name != "grid" and len(level.completed) > len(means)
        return None if is_drawn or len(means) < 3 else mean_half_width(means)

    @cached_property
    def is_random_sample(self) -> bool:
        """Whether the completed trials of a level are a random sample of what the study file describes.

        Only then does a mean's interval keep its promise. A sampler that learns tries more of what looks good, a pruner
        takes the worse trials away, and `start_from` and `transfer_from` have what people hold for good. A study that
        has evolved may hold trials of another sampler.
        """
        spec = self.report.record.spec
        trials = [trial for level in self.levels for trial in level.trials]
        return (
            spec.sampler.name in IMPARTIAL
            and not any(trial.reason == "pruned" for trial in trials)
            and (spec.sampler.name == "grid" or all(map(_is_impartial, trials)))
        )

    @cached_property
    def paired(self) -> Paired | None:
        """The levels with completed trials compared block by block, where they are balanced; else None."""
        if not self.is_balanced:
            return None
        by_block = []
        for level in self.compared:
            values: dict[tuple[object, ...], list[float]] = {}
            for trial, value in zip(level.completed, level.values, strict=True):
                values.setdefault(self._block(trial), []).append(value)
            by_block.append({block: mean(each) for block, each in values.items()})
        return compare_paired(np.array([[each[block] for block in by_block[0]] for each in by_block]))

    @cached_property
    def leader(self) -> Level | None:
        """The level with the best mean, which all others are compared with; None where nothing is compared."""
        if self.paired is None:
            return None
        means = self.paired.means if self.report.maximizes else -self.paired.means
        return self.compared[int(means.argmax())]

    def difference(self, level: Level) -> tuple[float, float] | None:
        """By how much the mean of a level differs from that of the leader, and half the width of its interval."""
        if self.paired is None or level is self.leader or not any(level is each for each in self.compared):
            return None
        means = self.paired.means
        best = means.max() if self.report.maximizes else means.min()
        return float(means[self.compared.index(level)] - best), self.paired.half_width

    @cached_property
    def tried(self) -> list[Level]:
        """The levels that some trial had."""
        return [level for level in self.levels if level.trials]

    @cached_property
    def compared(self) -> list[Level]:
        """The levels that are compared with each other: with `repeats`, those that have all their trainings."""
        return [level for level in self.tried if not self.lacks_trainings(level)]

    def lacks_trainings(self, level: Level) -> bool:
        """Whether a configuration of a level fell behind, or a training of it failed or is still missing."""
        return self.repeats is not None and not self._has_all_trainings(level)

    def fell_behind(self, level: Level) -> bool:
        """Whether a configuration of a level was trained less often than others, since it had fallen behind."""
        fallen = self.report.record.fallen
        return self.knob != "seed" and any(key_of(trial.params) in fallen for trial in level.trials)

    def _block(self, trial: TrialRecord) -> tuple[object, ...]:
        own = () if self.knob == "seed" else (trial.repeat,)
        return own if self.is_each_at_its_own else (*self.others_of(trial), *own)

    def others_of(self, trial: TrialRecord) -> tuple[object, ...]:
        """The values that a trial had of the other searched knobs."""
        return tuple(trial.params.get(name) for name in self.others)

    @property
    def label(self) -> str:
        """The knob, and what its levels are in proportion to, if they are."""
        return next((each.label for each in self.report.knobs if each.name == self.knob), self.knob)

    @property
    def others(self) -> list[str]:
        """The knobs that were searched at the same time."""
        return [name for name in self.report.record.spec.search_space if name != self.knob]

    @cached_property
    def is_balanced(self) -> bool:
        """Whether the levels completed trials of the same values of all other searched knobs, as a whole grid does."""
        counts = {len(level.completed) for level in self.compared}
        if len(self.compared) < 2 or len(counts) > 1 or 0 in counts:
            return False
        tried = [Counter(self._block(trial) for trial in level.completed) for level in self.compared]
        return all(each == tried[0] for each in tried)

    @cached_property
    def is_each_at_its_own(self) -> bool:
        """Whether `repeats` has trained one configuration for each level, which differ in other knobs too.

        So are optimizers compared, each at its own learning rate. Seed by seed, these configurations can be paired.
        """
        if self.repeats is None or self.knob == "seed":
            return False
        each = [{self.others_of(trial) for trial in level.completed} for level in self.compared]
        return len(each) > 1 and all(len(own) == 1 for own in each) and any(own != each[0] for own in each)

    @property
    def conditions(self) -> str:
        """Under which conditions the levels were compared, as sentences."""
        return conditions_text(self)

    @property
    def is_balanced_but_for_trainings(self) -> bool:
        """Whether the levels were tried with the same values of the other knobs, and too few have all trainings."""
        if self.repeats is None or self.knob == "seed" or len(self.compared) > 1:
            return False
        tried = [{self.others_of(trial) for trial in each.trials} for each in self.tried]
        return all(each == tried[0] for each in tried)


def _is_impartial(trial: TrialRecord) -> bool:
    return trial.source == "sampler" and trial.drawn_by in IMPARTIAL


def compare(record: StudyRecord, knob: str, key: str = "knob") -> Comparison:
    """Group a study's trials by a knob, which errors call `key`; see `levels_of` for its levels.

    Raises:
        UserError: as `levels_of` does.
    """
    return compare_in(Report(record), knob, key)


def compare_in(report: Report, knob: str, key: str = "knob") -> Comparison:
    """The same of a study that is reported on.

    Raises:
        UserError: as `levels_of` does.
    """
    return Comparison(report, knob, levels_of(report, knob, key))
