"""One knob's levels side by side: the one-factor tables of hand tuning, with what they leave unsaid."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import mean, stdev

import numpy as np

from cifar_tune.reports.levels import Level, levels_of, listed
from cifar_tune.reports.report import Report
from cifar_tune.statistics.paired import Paired, compare_paired, mean_half_width
from cifar_tune.storage.means import key_of
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study_spec.repeats import RepeatsSpec
from cifar_tune.study_spec.search_space import Range
from cifar_tune.wording import counted, figure

_IMPARTIAL = ("grid", "qmc", "random")
"""Samplers that do not look at results."""


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
        if level.mean is None or not self._lacks_trainings(level):
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
        if not self.is_random_sample or self._lacks_trainings(level):
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
            spec.sampler.name in _IMPARTIAL
            and not any(trial.reason == "pruned" for trial in trials)
            and (spec.sampler.name == "grid" or all(map(_is_impartial, trials)))
        )

    @cached_property
    def paired(self) -> Paired | None:
        """The levels with completed trials compared block by block, where they are balanced; else None."""
        if not self.is_balanced:
            return None
        by_block = []
        for level in self._compared:
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
        return self._compared[int(means.argmax())]

    def difference(self, level: Level) -> tuple[float, float] | None:
        """By how much the mean of a level differs from that of the leader, and half the width of its interval."""
        if self.paired is None or level is self.leader or not any(level is each for each in self._compared):
            return None
        means = self.paired.means
        best = means.max() if self.report.maximizes else means.min()
        return float(means[self._compared.index(level)] - best), self.paired.half_width

    @property
    def _tried(self) -> list[Level]:
        return [level for level in self.levels if level.trials]

    @property
    def _compared(self) -> list[Level]:
        """The levels that are compared with each other: with `repeats`, those that have all their trainings."""
        return [level for level in self._tried if not self._lacks_trainings(level)]

    def _lacks_trainings(self, level: Level) -> bool:
        """Whether a configuration of a level fell behind, or a training of it failed or is still missing."""
        return self.repeats is not None and not self._has_all_trainings(level)

    def fell_behind(self, level: Level) -> bool:
        """Whether a configuration of a level was trained less often than others, since it had fallen behind."""
        fallen = self.report.record.fallen
        return self.knob != "seed" and any(key_of(trial.params) in fallen for trial in level.trials)

    def _block(self, trial: TrialRecord) -> tuple[object, ...]:
        own = () if self.knob == "seed" else (trial.repeat,)
        return own if self.is_each_at_its_own else (*self._others_of(trial), *own)

    def _others_of(self, trial: TrialRecord) -> tuple[object, ...]:
        return tuple(trial.params.get(name) for name in self.others)

    @property
    def label(self) -> str:
        """The knob, and what its levels are in proportion to, if they are."""
        return next((each.label for each in self.report.knobs if each.name == self.knob), self.knob)

    @property
    def others(self) -> list[str]:
        """The knobs that were searched at the same time."""
        return [name for name in self.report.record.spec.search_space if name != self.knob]

    @property
    def is_balanced(self) -> bool:
        """Whether the levels completed trials of the same values of all other searched knobs, as a whole grid does."""
        tried = [Counter(self._block(trial) for trial in level.completed) for level in self._compared]
        return len(tried) > 1 and bool(tried[0]) and all(each == tried[0] for each in tried)

    @cached_property
    def is_each_at_its_own(self) -> bool:
        """Whether `repeats` has trained one configuration for each level, which differ in other knobs too.

        So are optimizers compared, each at its own learning rate. Seed by seed, these configurations can be paired.
        """
        if self.repeats is None or self.knob == "seed":
            return False
        each = [{self._others_of(trial) for trial in level.completed} for level in self._compared]
        return len(each) > 1 and all(len(own) == 1 for own in each) and any(own != each[0] for own in each)

    @property
    def _is_balanced_but_for_trainings(self) -> bool:
        """Whether the levels were tried with the same values of the other knobs, and too few have all trainings."""
        if self.repeats is None or self.knob == "seed" or len(self._compared) > 1:
            return False
        tried = [
            {tuple(trial.params.get(name) for name in self.others) for trial in each.trials} for each in self._tried
        ]
        return all(each == tried[0] for each in tried)

    def _is_over_repeats(self, level: Level) -> bool:
        """Whether a level has a standard error and an interval, both over its seeds or folds."""
        return self.standard_error(level) is not None and self.half_width(level) is not None

    def _has_hidden_best(self, level: Level) -> bool:
        means = self.report.record.means or ()
        own = {trial.number for trial in level.completed}
        return (
            self.knob != "seed"
            and self.best(level) is None
            and any(each.number in own and each.feasible and each.value is not None for each in means)
        )

    def _differing_words(self) -> Iterator[str]:
        """What training used differently from level to level though nobody searched it: defaults, and scaled values."""
        dimensions = self.report.record.spec.search_space
        for name in self.report.record.spec.vocabulary.knobs:
            dimension = dimensions.get(name)
            is_scaled = isinstance(dimension, Range) and dimension.per is not None
            if name == self.knob or (name == "seed" and self.repeats is not None):
                continue
            if dimension is not None and not is_scaled:
                continue
            used = [{trial.config[name] for trial in level.completed if name in trial.config} for level in self.levels]
            taken = [values for values in used if values]
            if all(values == taken[0] for values in taken):  # or only one level takes it
                continue
            if is_scaled:
                yield f"{name}, which goes with {self.knob}"
            else:
                each = zip(self.levels, used, strict=True)
                shown = ", ".join(f"{level.label}: {listed(values)}" for level, values in each if values)
                yield f"{name} ({shown})"

    def _interval_words(self) -> str:
        """Which intervals there are, and what the differences say."""
        words = ""
        if not self.is_random_sample and any(len(level.completed) > 2 for level in self.levels):
            words = (
                " Means have no intervals: these trials are no random sample, since the sampler (perhaps that of an "
                "earlier version), the pruner, `start_from` or `transfer_from` chose among them, so the usual "
                "interval would be too narrow, and often would not hold the true mean."
            )
        if self.paired is None or self.leader is None:
            return words
        behind: list[str] = []
        open_: list[str] = []
        for level in self._compared:
            found = self.difference(level)
            if found is not None:
                (behind if abs(found[0]) > found[1] else open_).append(level.label)
        words += (
            f" Differences are paired: each level against {self.leader.label}, the best mean, over the same "
            f"{self.paired.blocks} {self._block_words}; their 95 % intervals hold for all of them "
            f"together (Tukey)."
        )
        if behind:
            words += f" Behind it by more than chance: {', '.join(behind)}."
        if open_:
            words += f" Not settled: {', '.join(open_)}."
        return words

    @property
    def _block_words(self) -> str:
        if self.repeats is None or self.knob == "seed":
            return f"combinations of {', '.join(self.others)}"
        if not self.others or self.is_each_at_its_own:
            return self.repeats.what
        return f"combinations of {', '.join(self.others)} and {self.repeats.what.removesuffix('s')}"

    def _left_out_words(self) -> str:
        """Which levels are not compared, since they have fewer trainings than others."""
        words = ""
        fallen = [level.label for level in self._tried if self.fell_behind(level)]
        if fallen:
            words += (
                f" Left out of the differences, since configurations of theirs fell behind and were not trained "
                f"{self.report.record.spec.trainings} times (`repeats.stop_early`): {', '.join(fallen)}."
            )
        lacking = [each.label for each in self._tried if self._lacks_trainings(each) and not self.fell_behind(each)]
        if lacking and self.paired is not None:
            words += f" Left out too, since a training of theirs is missing or did not complete: {', '.join(lacking)}."
        return words

    def _equality_words(self) -> str:
        """Whether the conditions of the levels were equal, and why they were not."""
        defaults = "; ".join(self._differing_words())
        if len(self._tried) == 1:
            words = f"Only {self._tried[0].label} was tried, so there is nothing to compare."
        elif self.is_each_at_its_own:
            words = f"Each level has one configuration, with other knobs of its own: {self._own_words}."
        elif self.others and self._is_balanced_but_for_trainings:
            words = (
                f"Not under equal conditions: every level that was tried had the same values of "
                f"{', '.join(self.others)}, but not every configuration has all its "
                f"{self.report.record.spec.trainings} trainings."
            )
        elif self.others and self.is_balanced and defaults:
            words = (
                f"Not under equal conditions: every level that was tried had the same suggestions for "
                f"{', '.join(self.others)}, but they differ in {defaults}."
            )
        elif self.others and self.is_balanced:
            words = (
                f"Under equal conditions: every level that was tried had the same values of {', '.join(self.others)}."
            )
        elif self.others:
            favours = self.report.record.spec.sampler.name not in _IMPARTIAL
            words = (
                f"Not under equal conditions: {', '.join(self.others)} varied at the same time"
                f"{', and the sampler tried more of what looked good' if favours else ''}. `best` is what a level "
                f"reached with so many trials; a difference of means may come from the other knobs."
            )
        elif defaults:
            words = f"Not under equal conditions: nothing else was searched, but levels differ in {defaults}."
        else:
            words = "Under equal conditions: nothing else was searched."
        return words

    @property
    def _own_words(self) -> str:
        """The other knobs of each level's one configuration, where there is only one."""
        each = {level.label: level.completed[0].searched for level in self._compared}
        return "; ".join(
            f"{label} with {', '.join(f'{name} {figure(values[name])}' for name in self.others if name in values)}"
            for label, values in each.items()
        )

    def _repeats_words(self) -> str:
        """What the standard errors and the best configurations of a study with `repeats` are."""
        words = ""
        if any(self.standard_error(level) is not None for level in self._tried):
            words += f" The standard error of a mean is over {self.repeats.what if self.repeats else ''} alone"
            words += f", with {', '.join(self.others)} as they are." if self.others else "."
        if any(map(self._is_over_repeats, self._tried)):
            words += (
                " The 95 % interval is the standard error times Student's factor, so a paper gives one of the two, and "
                "says which."
            )
        unnamed = [each.label for each in self._tried if self._has_hidden_best(each)]
        if unnamed:
            words += (
                f" No best configuration is shown for {', '.join(unnamed)}: one that lacks trainings is better so far "
                f"than those that have all."
            )
        return words

    @property
    def conditions(self) -> str:
        """Under which conditions the levels were compared, as sentences."""
        trials = [trial for level in self.levels for trial in level.trials]
        untrained = sum(trial.reason == "infeasible" for trial in trials)
        pruned = sum(trial.state == "PRUNED" for trial in trials) - untrained
        words = self._equality_words() + self._interval_words() + self._repeats_words()
        words += self._left_out_words()
        untried = [level.label for level in self.levels if not level.trials]
        if untried:
            words += f" Never tried: {', '.join(untried)}."
        few = [level.label for level in self.levels if level.trials and len(level.completed) < 3]
        if few:
            words += f" Fewer than three completed trials: {', '.join(few)}."
        broken = sum(len(level.values) - len(level.allowed) for level in self.levels)
        if broken:
            words += (
                f" Completed trials that break {self.report.constraint_words}: {broken}; means hold them, `best` not."
            )
        if pruned:
            words += f" Means leave out {pruned} pruned trials, which tend to be the worse ones of their level."
        if untrained:
            count = counted(untrained, "trial")
            words += f" Not trained, since their model breaks {self.report.constraint_words}: {count}."
        return words


def _is_impartial(trial: TrialRecord) -> bool:
    return trial.source == "sampler" and trial.drawn_by in _IMPARTIAL


def compare(record: StudyRecord, knob: str, key: str = "knob") -> Comparison:
    """Group a study's trials by a knob, which errors call `key`; see `levels_of` for its levels.

    Raises:
        UserError: as `levels_of` does.
    """
    report = Report(record)
    return Comparison(report, knob, levels_of(report, knob, key))
