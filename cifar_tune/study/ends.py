"""The ends of trials in one run: each is stored, counted and announced. Checkpoints that nobody needs are deleted."""

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.errors import last_line
from cifar_tune.optuna_internals import trial_id
from cifar_tune.samplers.build import neutral_sampler
from cifar_tune.storage import attributes
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.budget import ElapsedTime
from cifar_tune.study.checkpoints import checkpoints_of, sweep
from cifar_tune.study.events import Announcements, Watch
from cifar_tune.study.planned import Planned
from cifar_tune.study.promoting import Promoting
from cifar_tune.study.repeating import Repeating
from cifar_tune.study.standing import Standing
from cifar_tune.study.trial import RunningTrial, repeat
from cifar_tune.study_spec.specification import StudySpec


class Ends:
    """Ends trials, and keeps count.

    Args:
        storage: the study in memory.
        study: on this storage.
        spec: of the study.
        watch: is told when the end of a trial stands in the database.
        elapsed: the study's time.
        planned: the script's trials, where a script plans them.
        repeating: deals the repeats.

    Attributes:
        announcements: of the ends that stand in the database.
        standing: counts the trials that have ended; those of earlier runs from `take_up` on.
    """

    def __init__(
        self,
        storage: WriteBehindStorage,
        study: optuna.Study,
        spec: StudySpec,
        watch: Watch,
        elapsed: ElapsedTime,
        planned: Planned | None,
        repeating: Repeating,
    ) -> None:
        self._storage = storage
        self._study = study
        self._spec = spec
        self._observer = watch.observer
        self._elapsed = elapsed
        self._planned = planned
        self._repeating = repeating
        self._checkpoints = checkpoints_of(study)
        self.announcements = Announcements(storage, watch, self.sweep)
        self.standing = Standing(spec, [])

    def take_up(self) -> None:
        """Count the trials of earlier runs."""
        self.standing = Standing(self._spec, self._study.get_trials(deepcopy=False))

    def tell(self, running: RunningTrial, state: TrialState, reason: str, error: str = "", detail: str = "") -> None:
        """End a trial that an executor has trained, for one of `attributes.REASONS`.

        Args:
            running: the trial.
            state: in which it ends.
            reason: why.
            error: of a failed one, with its traceback.
            detail: more about the reason, for people.
        """
        # a sampler that has tried everything would stop a study, not end it
        running.trial.study.sampler = neutral_sampler()
        running.tell(state, reason, error)
        told = self._storage.get_trial(trial_id(running.trial))
        self._count(told, running.value if running.results else None, running.figures, last_line(error) or detail)

    def take_over(self, running: RunningTrial, earlier: FrozenTrial) -> None:
        """End a trial that was not trained with the result of an earlier one of the same configuration."""
        trial = running.trial
        with self._storage.together():
            trial.study.sampler = neutral_sampler()
            repeat(trial, earlier, self._spec)
        self._observer.began(trial.number, running.searched, running.epochs, 0)
        self._count(
            self._storage.get_trial(trial_id(trial)),
            earlier.values[0],
            earlier.user_attrs.get(attributes.METRICS, {self._spec.objective.metric: earlier.values[0]}),
            f"trial {earlier.number} had the same configuration, whose result it takes over",
        )

    def end_hopeless(self, promoting: Promoting, is_over: bool) -> None:
        """End paused trials: all of them when the study is over, else those that are too many."""
        for number in promoting.hopeless(is_over):
            told = promoting.end(number)
            value = None if told.values is None else told.values[0]
            known = {} if value is None else {self._spec.objective.metric: value}
            self._count(told, value, told.user_attrs.get(attributes.METRICS, known), "")

    def sweep(self, half_written: bool = False) -> None:
        """Delete checkpoints: those that go on and the best are kept, and those that alone hold the end of a trial."""
        unfinished = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
        kept = {trial.number for trial in unfinished} | {*self.standing.best_numbers} | self._storage.unwritten()
        kept |= self._repeating.unfinished()
        if self._planned is not None and self._planned.keeps_checkpoints:
            kept |= {trial.number for trial in self._study.get_trials(deepcopy=False)}
        sweep(self._checkpoints, kept, half_written)

    def _count(self, told: FrozenTrial, value: float | None, figures: Mapping[str, float], detail: str) -> None:
        """Take note of a trial that has ended, and keep its announcement until its end stands in the database."""
        self.standing.add(told)
        self._elapsed.write()
        self.announcements.add(self.standing.end_of(told, value, figures, detail, self._elapsed.seconds))
        for words in self._repeating.news():
            self._observer.note(words)
