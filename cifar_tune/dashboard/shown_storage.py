"""The storage as the dashboard sees it: with a note for each study, and files for each trial, that nobody wrote.

They are made when somebody looks at them. So training waits for nothing, nothing grows in the database, no process but
the coordinator writes to a running study, and all of it is there for studies of any age.
"""

import copy
import json
from collections.abc import Container, Mapping
from typing import Any

from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from cifar_tune.dashboard.made_files import artifacts_of, is_made
from cifar_tune.dashboard.study_note import study_note
from cifar_tune.optuna_internals import ARTIFACT, NOTE_PIECE, NOTE_TEXT, NOTE_VERSION, FrozenStudy, study_id
from cifar_tune.storage import attributes
from cifar_tune.storage.views import PassingStorage
from cifar_tune.study.folder_claim import own_folder, remove_folder


class ShownStorage(PassingStorage):
    """Passes everything on to a storage, and adds to what is read from it."""

    def __init__(self, storage: BaseStorage, url: URL) -> None:
        super().__init__(get_storage(storage))  # with Optuna's cache of finished trials
        self._url = url
        self._notes: dict[int, tuple[str, object, dict[str, Any]]] = {}

    def get_all_studies(self) -> list[FrozenStudy]:
        """All studies in the order in which they were made, each with our note, unless somebody has written one.

        The long texts of what openings of the test set showed are left out: the report shows them.

        Notes are shown from here alone: whoever copies a study asks for the attributes of that one study, and copies
        what is stored.
        """
        shown = []
        for study in sorted(self._backend.get_all_studies(), key=study_id):
            noted = copy.copy(study)
            noted.system_attrs = self._with_note(study)
            noted.user_attrs = without_analyses(study.user_attrs)
            shown.append(noted)
        return shown

    def _with_note(self, study: FrozenStudy) -> dict[str, Any]:
        attrs = study.system_attrs
        spec = study.user_attrs.get(attributes.SPEC)
        if spec is None or any(key.startswith(NOTE_TEXT) and value for key, value in attrs.items()):
            return attrs
        name, described, note = self._notes.get(study_id(study), ("", None, {}))
        if (name, described) != (study.study_name, spec):  # numbers of studies are given again
            text = study_note(study.study_name, spec)
            pieces = [text[start : start + NOTE_PIECE] for start in range(0, len(text), NOTE_PIECE)]
            note = {f"{NOTE_TEXT}{index}": piece for index, piece in enumerate(pieces)}
            self._notes[study_id(study)] = (study.study_name, spec, note)
        # the version that is stored, since what somebody writes must have the next one
        without = {key: value for key, value in attrs.items() if not key.startswith(NOTE_TEXT)}
        return {NOTE_VERSION: 0, **without, **note}

    def delete_study(self, study_id: int) -> None:
        """Delete it with its checkpoints, unless a copy of it has them too: the dashboard renames by copying."""
        name, attrs = self._backend.get_study_name_from_id(study_id), self._backend.get_study_user_attrs(study_id)
        folder = own_folder(name, attrs, self._backend, self._url)
        self._backend.delete_study(study_id)
        if folder is not None:
            remove_folder(folder)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create it, without our files if it is a copy of one that was read here: they are made for each trial."""
        if template_trial is not None and any(map(_is_made, template_trial.system_attrs)):
            kept = {key: value for key, value in template_trial.system_attrs.items() if not _is_made(key)}
            template_trial = copy.copy(template_trial)
            template_trial.system_attrs = kept
        return self._backend.create_new_trial(study_id, template_trial)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial with its files."""
        return with_files(self._backend.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials, with their files if the study is ours."""
        trials = self._backend.get_all_trials(study_id, deepcopy, states)
        is_ours = attributes.SPEC in self._backend.get_study_user_attrs(study_id)
        return [with_files(trial) for trial in trials] if is_ours else trials

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Write it, unless it says that one of our files is deleted: it is made again anyway."""
        if not _is_made(key):
            self._backend.set_study_system_attr(study_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """The same for a trial."""
        if not _is_made(key):
            self._backend.set_trial_system_attr(trial_id, key, value)


def without_analyses(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a study without the long texts of what openings of the test set showed."""
    return {name: value for name, value in attrs.items() if not name.startswith(attributes.TEST_ANALYSIS)}


def _is_made(key: str) -> bool:
    """Whether an attribute names one of our files."""
    return is_made(key.rpartition(":")[2])


def with_files(trial: FrozenTrial) -> FrozenTrial:
    """The trial with the names of its files; the storage's own object is left alone."""
    files = artifacts_of(trial)
    if not files:
        return trial
    shown = copy.copy(trial)
    shown.system_attrs = {**trial.system_attrs, **{f"{ARTIFACT}{id_}": json.dumps(meta) for id_, meta in files}}
    return shown
