"""Where a study stands: how many of its trials have ended, which are the best, and what need not be trained again."""

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import is_feasible, is_stranger
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.means import MEAN_OF, Means
from cifar_tune.study.best_trials import BestTrials
from cifar_tune.study.budget import most_trials
from cifar_tune.study.events import TrialEnd
from cifar_tune.study.trial import TrainedBefore
from cifar_tune.study_spec.specification import StudySpec


class Standing:
    """Counts the trials that have ended, here or in another program.

    Args:
        spec: of the study.
        trials: all that there are already, whatever their state.

    Attributes:
        finished: how many have ended.
        strangers: how many of these tried no combination here.
        has_completed: whether one of them has completed.
    """

    def __init__(self, spec: StudySpec, trials: Sequence[FrozenTrial]) -> None:
        self._spec = spec
        self._best = BestTrials([], spec.objectives, spec.constraints)
        self._means = Means(spec)
        for trial in trials:
            self._rank(trial)
        self._trained = TrainedBefore(trials, spec)
        self.finished = sum(trial.state.is_finished() for trial in trials)
        self.strangers = sum(map(is_stranger, trials))
        self.has_completed = any(trial.state == TrialState.COMPLETE for trial in trials)

    @property
    def most(self) -> int:
        """How many trials there can be in all."""
        return most_trials(self._spec, self.strangers)

    @property
    def best_numbers(self) -> list[int]:
        """The numbers of the best trials, whose checkpoints are kept."""
        return self._best.numbers

    def count(self, trial: FrozenTrial) -> None:
        """A trial has ended, whoever ended it."""
        self.finished += 1
        self.strangers += is_stranger(trial)
        self.has_completed |= trial.state == TrialState.COMPLETE

    def add_foreign(self, trial: FrozenTrial) -> None:
        """Count a trial that another program has added and ended."""
        self.count(trial)
        self._rank(trial)

    def add(self, trial: FrozenTrial) -> None:
        """Count a trial that has ended here."""
        self.count(trial)
        self._rank(trial)
        self._trained.add(trial)

    def _rank(self, trial: FrozenTrial) -> None:
        """Rank a trial, or with `repeats` its configuration as soon as all its trainings have completed."""
        found = self._means.add(trial)
        if found is not None:
            self._best.add(found)

    def trained_before(self, config: Configuration, number: int) -> FrozenTrial | None:
        """The trial that trial `number` would repeat with this configuration; None if there is none."""
        return self._trained.find(config, number)

    def end_of(
        self, trial: FrozenTrial, value: float | None, figures: Mapping[str, float], detail: str, elapsed: float
    ) -> TrialEnd:
        """What there is to say of a trial that has ended here and was counted.

        Args:
            trial: as it is stored.
            value: of the first objective; None if there is none.
            figures: all objectives and constrained metrics by name.
            detail: more about its reason.
            elapsed: seconds of `budget.timeout` that were used up.
        """
        feasible = is_feasible(trial, self._spec.constraints) is True
        return self._end(trial, trial.user_attrs[attributes.REASON], value, figures, feasible, detail, elapsed)

    def foreign_end_of(self, trial: FrozenTrial, was_running: bool, elapsed: float) -> TrialEnd:
        """The same of a trial of ours that another program has ended.

        Args:
            trial: as it is stored.
            was_running: whether it was trained here at that time.
            elapsed: as above.
        """
        values = "" if trial.values is None else f" with {', '.join(f'{value:.6g}' for value in trial.values)}"
        stops = ", while it was trained here: its training stops" if was_running else ""
        detail = f"as {trial.state.name}{values}{stops}; it counts against the budget, but is never the best"
        return self._end(trial, "ended by another program", None, {}, True, detail, elapsed)

    def _end(
        self,
        trial: FrozenTrial,
        reason: str,
        value: float | None,
        figures: Mapping[str, float],
        feasible: bool,
        detail: str,
        elapsed: float,
    ) -> TrialEnd:
        best = None if parent_of(self._spec.name) is not None else self._best.best  # one training decides nothing there
        return TrialEnd(
            number=trial.number,
            state=trial.state.name,
            reason=reason,
            value=value,
            best_number=best.number if best else None,
            best_value=best.values[0] if best else None,
            finished=self.finished,
            most=self.most,
            figures=figures,
            feasible=feasible,
            front=self._best.numbers if self._spec.has_several_objectives else [],
            detail=detail,
            elapsed=elapsed,
            mean_of=best.user_attrs[MEAN_OF].numbers if best is not None and MEAN_OF in best.user_attrs else (),
        )
