"""A study as all parts of its report see it: what is computed once and used by several of them."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from cifar_tune.knobs.knob import Knob, stored
from cifar_tune.reports.early_epochs import EarlyEpochs, early_epochs
from cifar_tune.reports.importance_chance import Chance, Spread, chance, spread
from cifar_tune.reports.importances import OF_LINKED, Importances, importances
from cifar_tune.reports.linked import trained_on
from cifar_tune.reports.objective import Scale, finite, scale_of
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.linked import is_networks, parent_of
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.race_result import RaceResult, stored_result
from cifar_tune.study_spec.pareto import minimized
from cifar_tune.study_spec.search_space import Range


@dataclass(frozen=True)
class SearchedKnob:
    """One searched knob, with what the trials made of it.

    Attributes:
        knob: what it is.
        levels: its values where it has choices, as trials hold them; None where it is a range.
        low, high: the ends of its range; where it has choices, the positions of the first and the last one.
        log: whether it is searched on a logarithmic scale.
        when: its conditions for people; empty where it has none.
        per: such as `per 128 of batch_size` where its numbers are in proportion to another knob; else empty.
    """

    knob: Knob
    levels: tuple[object, ...] | None
    low: float
    high: float
    log: bool
    when: str
    per: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return self.knob.name

    @property
    def label(self) -> str:
        """Its name where its own numbers, those that the sampler suggested, are shown."""
        return f"{self.name} {self.per}".rstrip()

    @property
    def remarks(self) -> list[str]:
        """How the numbers on its axis are to be read."""
        return ["log scale"] * self.log + [self.per] * bool(self.per)

    def position(self, trial: TrialRecord) -> float | None:
        """Where the trial stands on the knob's axis; None if the trial did not take the knob."""
        if self.name not in trial.params:
            return None
        value = trial.params[self.name]
        return float(value) if self.levels is None else float(self.levels.index(value))


@dataclass(frozen=True)
class Report:
    """A study record with what its tables and pictures share."""

    record: StudyRecord

    @cached_property
    def race(self) -> RaceResult | None:
        """What the race of `finalize` has decided; None where none is over."""
        return stored_result(self.record)

    @cached_property
    def is_linked(self) -> bool:
        """Whether `finalize` has made the study: then it is no search, and none of its trials is the best one."""
        return parent_of(self.record.name) is not None

    @cached_property
    def scale(self) -> Scale:
        """How the objective is written; the first one of several."""
        return self.scales[0]

    @cached_property
    def mean_scale(self) -> Scale:
        """How a mean of several trainings is written: with more digits than one training has."""
        return scale_of(self.record.spec.objective.metric, self.record.spec.vocabulary)

    @cached_property
    def scales(self) -> list[Scale]:
        """How each objective is written: rounded as the number of validation images allows."""
        spec = self.record.spec
        scales = [scale_of(objective.metric, spec.vocabulary) for objective in spec.objectives]
        if is_networks(self.record.name):
            return [trained_on(scale) for scale in scales]
        return [scale.rounded_for(self._val_images) for scale in scales]

    @cached_property
    def other_metrics(self) -> list[tuple[str, Scale]]:
        """The metrics of the study beside its objectives, and how each is written."""
        spec = self.record.spec
        return [(name, scale_of(name, spec.vocabulary).rounded_for(self._val_images)) for name in spec.other_metrics]

    @property
    def _val_images(self) -> int | None:
        images: int | None = self.record.data.get("val_images")
        return images

    def other_values(self, trial: TrialRecord) -> list[tuple[str, str]]:
        """Name and value of each of these metrics, for people; without those that the trial did not measure."""
        return [(name, scale.shown(trial.metrics[name])) for name, scale in self.other_metrics if name in trial.metrics]

    @cached_property
    def maximizes(self) -> bool:
        """Whether higher is better, in the first objective."""
        return self.record.spec.objective.direction == "maximize"

    @cached_property
    def completed(self) -> list[TrialRecord]:
        """The completed trials, best first; those that break a constraint come last. Of a linked study as they came.

        With `repeats` there is one for each configuration that has all its trainings, with the means of these.
        Without those that another program completed: nobody knows what was trained. Without repetitions: they show
        nothing new.
        """
        trials = [
            trial
            for trial in self.record.judged
            if trial.state == "COMPLETE" and trial.ended_here and not trial.is_repetition
        ]
        found = [trial for trial in trials if finite(trial.value)]
        if self.is_linked:
            return found
        objectives = self.record.spec.objectives
        return sorted(found, key=lambda t: (not t.feasible, minimized(t.values, objectives), t.number))

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """The completed trials that keep all constraints, best first."""
        return [trial for trial in self.completed if trial.feasible]

    @cached_property
    def infeasible(self) -> list[TrialRecord]:
        """The completed trials that break a constraint, best first."""
        return [trial for trial in self.completed if not trial.feasible]

    @property
    def best(self) -> TrialRecord | None:
        """The best completed trial that keeps all constraints; of several objectives, the best in the first one.

        None in a linked study.
        """
        return self.ranked[0] if self.ranked and not self.is_linked else None

    @cached_property
    def winner(self) -> TrialRecord | None:
        """The trial that won the race of `finalize`; None where no race is over."""
        if self.race is None:
            return None
        number = self.race.winner.trial
        return next((trial for trial in self.ranked if trial.number == number), None)

    @property
    def chosen(self) -> TrialRecord | None:
        """What the study has come to: the winner of the race, else the best trial; None where there is neither."""
        return self.winner or self.best

    @property
    def raced(self) -> RaceResult | None:
        """The race that has decided what is `chosen`; None where the best trial is."""
        return None if self.winner is None else self.race

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The Pareto front of several objectives, best first objective first; empty with one objective."""
        return list(self.record.front) if self.record.spec.has_several_objectives else []

    @property
    def constraint_words(self) -> str:
        """`parameters <= 300000 and val_accuracy >= 0.6`."""
        return " and ".join(str(constraint) for constraint in self.record.spec.constraints)

    @cached_property
    def pruned(self) -> list[TrialRecord]:
        """The pruned trials that finished an epoch with a value that can be drawn."""
        return [
            trial
            for trial in self.record.trials
            if trial.state == "PRUNED" and trial.ended_here and finite(trial.value)
        ]

    @cached_property
    def running(self) -> dict[int, float]:
        """The newest value of each running trial by its number, as it is plotted."""
        running = [trial for trial in self.record.trials if trial.state == "RUNNING" and trial.intermediate]
        newest = {trial.number: trial.intermediate[max(trial.intermediate)] for trial in running}
        return {number: self.scale.on_axis(value) for number, value in newest.items() if finite(value)}

    @property
    def has_many(self) -> bool:
        """Whether there are so many trials that dots must be small."""
        return len(self.record.trials) > 300

    @cached_property
    def reasons(self) -> Counter[str]:
        """How many finished trials ended for each reason."""
        return Counter(trial.reason for trial in self.record.trials if trial.reason in REASONS)

    @cached_property
    def importances(self) -> Importances | str:
        """The importances, or why there are none."""
        if self.is_linked:
            return OF_LINKED
        return importances(self.record)

    @cached_property
    def importance_spread(self) -> Spread | None:
        """Where the importances lie in resamples; None where there are none, or too few trials to resample."""
        found = self.importances
        return spread(self.record, found) if isinstance(found, Importances) else None

    @cached_property
    def importance_chance(self) -> Chance | None:
        """What the importances would be by chance; None where there are none, or too few trials to shuffle."""
        found = self.importances
        return chance(self.record, found) if isinstance(found, Importances) else None

    @cached_property
    def early_epochs(self) -> EarlyEpochs | None:
        """How early the order of the completed trials was settled; None where nothing can be said."""
        return None if self.is_linked else early_epochs(self.completed)

    @cached_property
    def knobs(self) -> list[SearchedKnob]:
        """The searched knobs, in the order of the study file."""
        return [self._knob(name) for name in self.record.spec.search_space]

    @cached_property
    def nothing_to_draw(self) -> str | None:
        """Why there is no trial with a value, as a sentence; None if there is one."""
        if self.completed or self.pruned:
            return None
        if not self.record.trials:
            return "There is no trial yet."
        if all(trial.reason == "infeasible" for trial in self.record.trials):
            known = [str(each) for each in self.record.spec.constraints if each.is_known_before_training]
            return f"No trial was trained: the models themselves break {' and '.join(known)}."
        return "No trial has finished an epoch yet."

    def on_axis(self, trial: TrialRecord, objective: int = 0) -> float:
        """An objective of a completed or pruned trial, the first one unless another is asked for, as it is plotted."""
        value = trial.values[objective] if objective else cast("float", trial.value)
        return self.scales[objective].on_axis(value)

    def measured(self, objective: int = 0) -> tuple[list[TrialRecord], list[TrialRecord]]:
        """The completed and the pruned trials that have a value of this objective that can be drawn."""
        if objective == 0:
            return self.completed, self.pruned
        return [trial for trial in self.completed if finite(trial.values[objective])], []

    def beyond(self, top: float, with_running: bool = False, objective: int = 0) -> str:
        """How many trials lie above the end of an axis and are drawn there, as a sentence; empty if none do."""
        completed, pruned = self.measured(objective)
        values = [self.on_axis(trial, objective) for trial in (*completed, *pruned)]
        values += self.running.values() if with_running else ()
        count = sum(value > top for value in values)
        if not count:
            return ""
        return f"{count:,} {'trial lies' if count == 1 else 'trials lie'} above the axis, drawn at its end"

    def _knob(self, name: str) -> SearchedKnob:
        dimension, knob = self.record.spec.search_space[name], self.record.spec.vocabulary.knobs[name]
        values = [trial.params[name] for trial in self.record.trials if name in trial.params]
        when = "; ".join(f"{on}: {', '.join(str(stored(v)) for v in wanted)}" for on, wanted in dimension.when.items())
        if isinstance(dimension, Range):
            # trials of an earlier, wider space may lie outside
            ends = [dimension.low, dimension.high, *(float(value) for value in values)]
            return SearchedKnob(knob, None, min(ends), max(ends), dimension.log, when, str(dimension.per or ""))
        levels = tuple(dict.fromkeys((*(stored(choice) for choice in dimension.choices), *values)))
        return SearchedKnob(knob, levels, 0.0, float(len(levels) - 1), False, when)
