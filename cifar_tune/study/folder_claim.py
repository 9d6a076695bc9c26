"""Whose checkpoints lie in a folder: databases can hold studies of one name, and the folder bears the name alone."""

import json
import uuid
from contextlib import suppress
from pathlib import Path

import optuna
from sqlalchemy.engine import URL, make_url

from cifar_tune.errors import Problem, UserError
from cifar_tune.storage import attributes
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE, shown, sqlite_file, study_folder

_MARK = "study.json"


def claim_folder(study: optuna.Study, url: URL) -> None:
    """Write down that the study's folder is its own; the caller holds its lease.

    That of a study which is gone is taken over: one of this database, whose name is free again, or one of an SQLite
    file that does not exist any more.

    Raises:
        UserError: if it belongs to a study of the same name in another database, whose checkpoints would be deleted.
    """
    own = study.user_attrs.get(attributes.IDENTITY)
    if own is None:
        own = uuid.uuid4().hex
        study.set_user_attr(attributes.IDENTITY, own)
    file = study_folder(study.study_name) / _MARK
    mark = _read(file)
    place = _place(url)
    if mark is not None and mark["study"] != own and mark["storage"] != place and not _is_gone(mark["storage"]):
        rule = (
            f"holds the checkpoints of another study of that name, in {mark['storage']}; give this one another name "
            f"(--set name=...), or set {ARTIFACTS_VARIABLE} to another folder"
        )
        raise UserError(Problem(rule, source=str(file.parent)))
    if mark != {"study": own, "storage": place}:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"study": own, "storage": place}))


def is_claimed_by_another(study: optuna.Study) -> bool:
    """Whether the folder of the study's name belongs to one in another database."""
    mark = _read(study_folder(study.study_name) / _MARK)
    return mark is not None and mark["study"] != study.user_attrs.get(attributes.IDENTITY)


def _read(file: Path) -> dict[str, str] | None:
    with suppress(OSError, ValueError):
        mark = json.loads(file.read_text())
        if isinstance(mark, dict) and all(isinstance(mark.get(key), str) for key in ("study", "storage")):
            return {key: mark[key] for key in ("study", "storage")}
    return None


def _place(url: URL) -> str:
    file = sqlite_file(url)
    return shown(url if file is None else url.set(database=str(file.resolve())))


def _is_gone(storage: str) -> bool:
    file = sqlite_file(make_url(storage))
    return file is not None and not file.exists()
