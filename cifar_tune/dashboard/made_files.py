"""The files of a trial in the dashboard: its learning curves and its summary, made when they are asked for."""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import Any, BinaryIO

import optuna
from bottle import HTTPError
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from cifar_tune.errors import CifarTuneError
from cifar_tune.optuna_internals import trial_id
from cifar_tune.optuna_questions import study_of_trial
from cifar_tune.plotting import style
from cifar_tune.reports.learning_curves import draw_trial
from cifar_tune.reports.trial_markdown import trial_markdown
from cifar_tune.storage import attributes
from cifar_tune.storage.records import TrialRecord, trial_record
from cifar_tune.storage.stored_studies import read_spec
from cifar_tune.study_spec.specification import StudySpec

_ID = re.compile(r"c1fa-([0-9a-f]{8})-([0-9a-f]{2})")
"""Of a file that is made: the trial's id in the storage, and which one it is. Uploaded ones have an UUID."""


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    mimetype: str
    make: Callable[[TrialRecord, StudySpec, str], bytes]
    needs: str


def _curves(trial: TrialRecord, _spec: StudySpec, name: str) -> bytes:
    with style.applied():
        return style.drawn_png(draw_trial(trial, name))


def _summary(trial: TrialRecord, spec: StudySpec, name: str) -> bytes:
    return trial_markdown(trial, spec, name).encode()


_FILES: Mapping[int, _File] = {
    1: _File("learning-curves.png", "image/png", _curves, attributes.HISTORY),
    2: _File("summary.md", "text/markdown; charset=utf-8", _summary, attributes.CONFIG),
}


def artifacts_of(trial: FrozenTrial) -> list[tuple[str, dict[str, Any]]]:
    """The id and the description of each file that the trial has, as optuna-dashboard reads them."""
    return artifacts_with(trial_id(trial), {key for key, value in trial.user_attrs.items() if value})


def artifacts_with(trial: int, keys: Container[str]) -> list[tuple[str, dict[str, Any]]]:
    """The same for the trial with this id, whose user attributes with these keys are not empty."""
    return [
        (id_, {"artifact_id": id_, "filename": file.name, "mimetype": file.mimetype, "encoding": None})
        for kind, file in _FILES.items()
        if file.needs in keys
        for id_ in [f"c1fa-{trial:08x}-{kind:02x}"]
    ]


def is_made(artifact_id: str) -> bool:
    """Whether this is a file of ours, and no uploaded one."""
    return _ID.fullmatch(artifact_id) is not None


class MadeFiles:
    """An artifact store: our files are made on demand, uploaded ones lie in a folder."""

    def __init__(self, storage: RDBStorage, folder: FileSystemArtifactStore) -> None:
        self._storage = storage
        self._folder = folder

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Make the file, or open the uploaded one.

        Raises:
            HTTPError: with a sentence, if there is no such file, or it cannot be made.
        """
        match = _ID.fullmatch(artifact_id)
        try:
            if match is None:
                return self._folder.open_reader(artifact_id)
            return BytesIO(self._made(*(int(part, 16) for part in match.groups())))
        except (ArtifactNotFound, KeyError) as error:
            raise HTTPError(HTTPStatus.NOT_FOUND, "The file is not there, or its trial is gone.") from error
        except CifarTuneError as error:
            raise HTTPError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from error

    def _made(self, trial_id: int, kind: int) -> bytes:
        trial = self._storage.get_trial(trial_id)
        study = self._study_of(trial_id)
        spec = read_spec(study)
        return _FILES[kind].make(trial_record(trial, spec), spec, study.study_name)

    def _study_of(self, trial_id: int) -> optuna.Study:
        study_id = study_of_trial(self._storage.engine, trial_id)
        if study_id is None:
            raise KeyError(trial_id)
        name = self._storage.get_study_name_from_id(study_id)
        return optuna.load_study(study_name=name, storage=self._storage)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an upload."""
        self._folder.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Delete an upload; there is nothing to delete of a file that is made."""
        if not is_made(artifact_id):
            self._folder.remove(artifact_id)
