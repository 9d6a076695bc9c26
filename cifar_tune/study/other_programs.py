"""What other programs do to a study while it runs here: they add trials, begin some, and end some of ours."""

from collections.abc import MutableMapping

from optuna.trial import TrialState

from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.events import Observer
from cifar_tune.study.opening import about_strangers, refuse_misfits
from cifar_tune.study.standing import Standing
from cifar_tune.study.trial import RunningTrial
from cifar_tune.study_spec.specification import StudySpec


class OtherPrograms:
    """Takes note of it.

    Args:
        storage: the study in memory.
        spec: of the study.
        observer: is told.
    """

    def __init__(self, storage: WriteBehindStorage, spec: StudySpec, observer: Observer) -> None:
        self._storage = storage
        self._spec = spec
        self._observer = observer

    def admit(self, standing: Standing, patience: float) -> bool:
        """Take over what they have added meanwhile; returns whether there was anything.

        Args:
            standing: counts what they have ended.
            patience: seconds to wait for the database.

        Raises:
            CheckError: if one of their trials spoils the search space.
        """
        admitted = self._storage.admit_others(patience)
        refuse_misfits(admitted, self._spec)
        for trial in admitted:
            if trial.state.is_finished():
                standing.add_foreign(trial)
        about = about_strangers(admitted)
        if about:
            self._observer.note(about)
        begun = [str(trial.number) for trial in admitted if trial.state == TrialState.RUNNING]
        if begun:
            self._observer.note(
                f"another program has begun trial {', '.join(begun)}: counted against the budget when it ends"
            )
        return bool(admitted)

    def leave(self, running: MutableMapping[int, RunningTrial], standing: Standing, elapsed: float) -> None:
        """Let go of trials that they have ended while these were trained here: their end stands.

        Args:
            running: the trials that are trained here, by number.
            standing: counts them.
            elapsed: seconds of `budget.timeout` that are used up.
        """
        for theirs in self._storage.ended_elsewhere():
            standing.count(theirs)
            was_running = running.pop(theirs.number, None) is not None
            self._observer.ended(standing.foreign_end_of(theirs, was_running, elapsed))
