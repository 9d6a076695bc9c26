"""Which trial of a study is next: one that waits, or a new one from the sampler, from `repeats` or from a script."""

from collections.abc import Iterator
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from cifar_tune.executors.messages import Job
from cifar_tune.samplers.build import Samplers
from cifar_tune.storage import attributes
from cifar_tune.storage.urls import checkpoint_name
from cifar_tune.storage.views import first_of_batch
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.asking import ask, is_exhausted, next_number, refusal, refuse
from cifar_tune.study.budget import most_trials
from cifar_tune.study.checkpoints import checkpoints_of
from cifar_tune.study.events import Watch
from cifar_tune.study.last_trials import LastTrials
from cifar_tune.study.planned import Planned
from cifar_tune.study.repeating import Again, Repeating
from cifar_tune.study.stopping import Stopping
from cifar_tune.study.trial import RunningTrial
from cifar_tune.study_spec.specification import StudySpec


@dataclass(frozen=True, slots=True)
class RefusedTrial:
    """A trial that waited and could not run. It has ended, and is stored so."""

    trial: FrozenTrial


class NextTrials:
    """Chooses the trials of one run, one after the other.

    Args:
        storage: the study in memory.
        study: on this storage.
        spec: of the study.
        watch: is given messages for people; a request to stop ends the drawing of several trials.
        planned: the script's trials, where a script plans them.
        repeating: deals the repeats.
        stopping: the rule `stop`.
    """

    def __init__(
        self,
        storage: WriteBehindStorage,
        study: optuna.Study,
        spec: StudySpec,
        watch: Watch,
        planned: Planned | None,
        repeating: Repeating,
        stopping: Stopping,
    ) -> None:
        self._storage = storage
        self._study = study
        self._spec = spec
        self._watch = watch
        self._planned = planned
        self._repeating = repeating
        self._stopping = stopping
        self._samplers = Samplers(spec.sampler, spec.priors)
        self._last = LastTrials(study, storage, spec, most_trials(spec), watch.observer.note)
        self._checkpoints = checkpoints_of(study)
        self._combinations = spec.space.size() if spec.sampler.name == "grid" else None

    def take(self, left: int, finished: int, workers: int) -> RunningTrial | RefusedTrial | None:
        """The next trial, which is running in the study from now on; None if there is none left to try.

        Args:
            left: how many trials can still begin.
            finished: how many have ended.
            workers: executors that train at a time.
        """
        is_stopped = self._stopping.holds(len(self._study.get_trials(deepcopy=False)), finished)
        if not is_stopped and self._planned is None:
            self._last.draw(left, workers, self._draw(), lambda: self._watch.stop.park)
        waiting = self._last.next_waiting(left)
        refused = self._refusal(waiting) if waiting is not None else None
        if waiting is not None and refused is not None:
            ended = refuse(self._study, waiting.number, refused)
            self._watch.observer.note(
                f"trial {ended.number} was enqueued, or begun by another program, but cannot run: {refused}"
            )
            return RefusedTrial(ended)
        if waiting is not None:
            return self._ask(waiting)
        return None if is_stopped else next(self._draw(), None)

    def take_up(self, waiting: FrozenTrial) -> RunningTrial:
        """A paused trial, which is running in the study again from now on."""
        with self._storage.together():
            running = self._ask(waiting)
            running.trial.set_user_attr(attributes.PAUSED, None)
        return running

    def waits_for_a_batch(self, first_running: int | None) -> bool:
        """Whether the next trial has to wait for the end of an earlier batch of `deterministic: N`.

        Args:
            first_running: the lowest number of a trial that runs; None if none does.
        """
        size = self._spec.deterministic
        if size is None or first_running is None:
            return False
        return first_running < first_of_batch(next_number(self._study), size)

    def job(self, running: RunningTrial) -> Job:
        """What an executor is told to train a trial."""
        file = self._checkpoints / checkpoint_name(running.number)
        plugins = tuple(plugin.file for plugin in self._spec.plugins if plugin.file is not None)
        data, measures = self._spec.data_of(running.repeat), self._spec.measures
        job = Job(running.number, dict(running.config), data, file.absolute(), plugins, measures)
        return job if self._planned is None else self._planned.job(job)

    def _draw(self) -> Iterator[RunningTrial]:
        """New trials, as long as there is a combination left to try where each is tried once."""
        if self._planned is not None:
            yield from map(self._ask, self._planned.waiting())
            return
        while True:
            again = self._repeating.again(len(self._study.get_trials(deepcopy=False)))
            if again is None or not again.is_urgent:
                if self._has_new_configurations():
                    again = None
                elif again is None:
                    return
            yield self._ask(None, again)

    def _has_new_configurations(self) -> bool:
        if self._spec.is_list:
            return False
        return self._combinations is None or not is_exhausted(self._study, self._combinations)

    def _refusal(self, waiting: FrozenTrial) -> str | None:
        of_plan = None if self._planned is None else self._planned.refusal(waiting)
        return of_plan or refusal(waiting, self._spec)

    def _ask(self, waiting: FrozenTrial | None, again: Again | None = None) -> RunningTrial:
        with self._storage.together():  # killed in between, a trial with half of its parameters would be left
            params = None if again is None else again.params
            trial, config = ask(self._study, self._spec, self._samplers, waiting, params)
            if self._planned is None:
                dealt, repeat = self._repeating.dealt(trial, config)
                return RunningTrial(trial, dealt, self._spec, repeat=repeat)
            return RunningTrial(
                trial, self._planned.seeded(trial.number, config), self._spec, told=self._planned.epochs
            )
