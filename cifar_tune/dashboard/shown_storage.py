"""The storage as the dashboard sees it: with a note for each study, and files for each trial, that nobody wrote.

They are made when somebody looks at them. So training waits for nothing, nothing grows in the database, no process but
the coordinator writes to a running study, and all of it is there for studies of any age.
"""

import copy
import json
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage, get_storage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.dashboard.made_files import artifacts_of, is_made
from cifar_tune.dashboard.study_note import study_note
from cifar_tune.storage import attributes
from cifar_tune.storage.passing import PassingStorage

_NOTE_VERSION = "dashboard:note_ver"
_NOTE_TEXT = "dashboard:note_str:"
_NOTE_LENGTH = 2045
"""Of one piece, as optuna-dashboard cuts them."""

_ARTIFACT = "artifacts:"


class ShownStorage(PassingStorage):
    """Passes everything on to a storage, and adds to what is read from it."""

    def __init__(self, storage: BaseStorage) -> None:
        super().__init__(get_storage(storage))  # with Optuna's cache of finished trials
        self._ours: dict[int, bool] = {}
        self._notes: dict[int, dict[str, Any]] = {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """The study's own, and our note, unless somebody has written one."""
        return self._with_note(study_id, self._backend.get_study_system_attrs(study_id))

    def _with_note(self, study_id: int, attrs: dict[str, Any]) -> dict[str, Any]:
        if not self._is_ours(study_id) or _NOTE_VERSION in attrs:
            return attrs
        if study_id not in self._notes:
            text = study_note(self._backend, study_id)
            pieces = [text[start : start + _NOTE_LENGTH] for start in range(0, len(text), _NOTE_LENGTH)]
            named = {f"{_NOTE_TEXT}{index}": piece for index, piece in enumerate(pieces)}
            self._notes[study_id] = {_NOTE_VERSION: 1, **named}
        return {**attrs, **self._notes[study_id]}

    def get_all_studies(self) -> list[FrozenStudy]:
        """All studies with their notes, in the order in which they were made."""
        shown = []
        for study in sorted(self._backend.get_all_studies(), key=lambda each: each._study_id):
            noted = copy.copy(study)
            noted.system_attrs = self._with_note(study._study_id, study.system_attrs)
            shown.append(noted)
        return shown

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial with its files."""
        return _with_files(self._backend.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials, with their files if the study is ours."""
        trials = self._backend.get_all_trials(study_id, deepcopy, states)
        return [_with_files(trial) for trial in trials] if self._is_ours(study_id) else trials

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write it, unless it says that one of our files is deleted: it is made again anyway."""
        if not is_made(key.rpartition(":")[2]):
            self._backend.set_study_system_attr(study_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """The same for a trial."""
        if not is_made(key.rpartition(":")[2]):
            self._backend.set_trial_system_attr(trial_id, key, value)

    def delete_study(self, study_id: int) -> None:
        """Delete it; its number may be given again."""
        self._backend.delete_study(study_id)
        self._ours.pop(study_id, None)
        self._notes.pop(study_id, None)

    def _is_ours(self, study_id: int) -> bool:
        if study_id not in self._ours:
            self._ours[study_id] = attributes.SPEC in self._backend.get_study_user_attrs(study_id)
        return self._ours[study_id]


def _with_files(trial: FrozenTrial) -> FrozenTrial:
    """The trial with the names of its files; the storage's own object is left alone."""
    files = artifacts_of(trial)
    if not files:
        return trial
    shown = copy.copy(trial)
    shown._system_attrs = {**trial.system_attrs, **{f"{_ARTIFACT}{id_}": json.dumps(meta) for id_, meta in files}}
    return shown
