"""From a STUDY argument to a specification or a record."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy.engine import URL

from cifar_tune.cli.options import study_file
from cifar_tune.errors import Problem, UserError
from cifar_tune.storage.rdb import open_existing, without_studies
from cifar_tune.storage.records import StudyRecord, load_optuna_study, load_record, read_spec
from cifar_tune.storage.urls import shown
from cifar_tune.study_spec.overrides import Override, parse_override
from cifar_tune.study_spec.reader import ReadStudy, read_study, read_study_file, read_study_name
from cifar_tune.study_spec.yaml_reader import Document


def find_spec(study: str, url: URL, settings: Sequence[str] | None, more: Sequence[Override] = ()) -> ReadStudy:
    """The specification in a study file, or that of a stored study, with `--set` applied before it is checked.

    Raises:
        UserError: with everything that is wrong with it.
    """
    overrides = [*(parse_override(text) for text in settings or ()), *more]
    file = study_file(study)
    if file is not None:
        return read_study_file(file, overrides)
    spec = read_spec(load_optuna_study(existing(url, study), study))
    stored = _without_defaults(spec.plain())
    if spec.plugins:
        stored["plugins"] = [plugin.path for plugin in spec.plugins]  # the files run: a description trains nothing
    return read_study(Document(stored), f"the stored study {study!r}", overrides)


def find_record(study: str, url: URL) -> StudyRecord:
    """What the storage holds of a study, named by its file or by its name.

    Raises:
        UserError: if the storage does not exist, or has no such study.
    """
    name, storage = find_stored(study, url)
    return load_record(storage, name)


def find_stored(study: str, url: URL) -> tuple[str, RDBStorage]:
    """The name of a study, given by its file or by its name, and the storage that must hold it.

    Raises:
        UserError: if there is no storage yet, or the file is wrong.
    """
    file = study_file(study)
    name = read_study_name(file) if file is not None else study
    return name, existing(url, name)


def existing(url: URL, study: str) -> RDBStorage:
    """Open the storage that must hold a study.

    Raises:
        UserError: if there is no storage yet.
    """
    storage = open_existing(url)
    if storage is None:
        rule = f"no study {study!r}: {without_studies(url)}; `cifar-tune run` with a study file creates it"
        files = [file for file in (Path(f"{study}.yaml"), Path("studies", f"{study}.yaml")) if file.is_file()]
        raise UserError(Problem(rule, shown(url), nearest=str(files[0]) if files else None))
    return storage


def _without_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """`None` stands for a default in stored sections, and is not something that a file says."""
    return {
        key: {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value
        for key, value in plain.items()
    }
