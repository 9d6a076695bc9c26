"""Trials as Optuna's evaluators want them: in a study."""

from collections.abc import Container, Sequence

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.storage.passing import PassingStorage
from cifar_tune.study_spec.specification import StudySpec


class _Empty(PassingStorage):
    """A storage that knows the directions of a study and nothing else. One of Optuna's would log that it was made."""

    def __init__(self, directions: Sequence[StudyDirection]) -> None:
        super().__init__(InMemoryStorage())
        self._directions = list(directions)

    def get_study_id_from_name(self, study_name: str) -> int:
        """The one that there is."""
        return 0

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Those of the objectives."""
        return self._directions


class ShownTrials(optuna.Study):
    """A study that has these trials, some of them perhaps several times; nothing is copied, stored or read."""

    def __init__(self, spec: StudySpec, trials: Sequence[FrozenTrial]) -> None:
        super().__init__(spec.name, _Empty([StudyDirection[each.direction.upper()] for each in spec.objectives]))
        self._shown = list(trials)

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """The trials themselves; `deepcopy` is not heeded."""
        return [trial for trial in self._shown if states is None or trial.state in states]
