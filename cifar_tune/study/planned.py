"""What a coordinator does otherwise where trials are planned by a script and not drawn by a sampler."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial

from cifar_tune.executors.messages import Job
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.storage import attributes
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.asking import waiting_trials
from cifar_tune.study.script import Script, task_of
from cifar_tune.study.trial import RunningTrial

_LONGEST_REASON = 500


class Planned:
    """The planned trials of one study.

    Args:
        study: in memory.
        storage: of this study.
        script: plans them.
        note: tells whoever watches the run.
    """

    def __init__(
        self, study: optuna.Study, storage: WriteBehindStorage, script: Script, note: Callable[[str], None]
    ) -> None:
        self._study = study
        self._storage = storage
        self._script = script
        self._note = note

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether those of trials that have ended are kept too."""
        return self._script.keeps_checkpoints

    def waiting(self) -> Iterator[FrozenTrial]:
        """Make one trial after the other, which waits to be begun, as long as one is to be trained now."""
        while True:
            trials = self._study.get_trials(deepcopy=False)
            for sentence in self._script.news(trials):
                self._note(sentence)
            task = self._script.next(trials)
            if task is None:
                return
            self._study.enqueue_trial(dict(task.params), user_attrs={attributes.TASK: task.plain()})
            yield waiting_trials(self._study)[-1]

    def refusal(self, waiting: FrozenTrial) -> str | None:
        """Why a trial that waits cannot run here; None if it can."""
        return "only finalize plans the trials of this study" if task_of(waiting) is None else None

    def seeded(self, number: int, config: Configuration) -> Configuration:
        """The configuration of a trial with its planned seed."""
        task = task_of(self._storage.get_trial(number))
        return config if task is None else config.replaced(seed=task.seed)

    @property
    def epochs(self) -> int | None:
        """How many epochs each trial trains; None for as many as its configuration says."""
        return None if self._script.told is None else len(self._script.told)

    def job(self, job: Job) -> Job:
        """The same with the images that are planned."""
        task = task_of(self._storage.get_trial(job.number))
        return job if task is None else replace(job, part=self._script.part(task), told=self._script.told)

    def fails_for_the_first_time(self, running: RunningTrial, reason: str) -> bool:
        """Whether a training that has failed is to be repeated; takes note of it."""
        if attributes.FAILED_ONCE in self._storage.get_trial(running.number).user_attrs:
            return False
        running.trial.set_user_attr(attributes.FAILED_ONCE, reason[-_LONGEST_REASON:])
        self._note(f"trial {running.number} failed ({reason}); it is trained once more")
        return True
