"""From a STUDY argument to a specification or a record."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.cli.options import study_file
from cifar_tune.errors import Problem, UserError
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.linked import parent_of
from cifar_tune.storage.patience import Result, at_first
from cifar_tune.storage.rdb import close, open_existing, unusable, without_studies
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.stored_studies import read_study_attributes, study_names
from cifar_tune.storage.urls import shown
from cifar_tune.storage.versions import successor
from cifar_tune.study_spec.overrides import Override, parse_overrides
from cifar_tune.study_spec.reader import (
    NAME_RULE,
    ReadStudy,
    is_study_name,
    read_study,
    read_study_file,
    read_study_name,
)
from cifar_tune.study_spec.yaml_reader import Document


def find_spec(study: str, url: URL, settings: Sequence[str] | None, more: Sequence[Override] = ()) -> ReadStudy:
    """The specification in a study file, or that of a stored study, with `--set` applied before it is checked.

    Raises:
        UserError: with everything that is wrong with it.
    """
    overrides = [*parse_overrides(settings or ()), *more]
    file = study_file(study, lambda: _stored_names(url))
    if file is not None:
        return read_study_file(file, overrides)
    spec = read_study_attributes(existing(url, study), study)[1]
    if all(override.key != "name" for override in overrides):
        _require_runnable(study)
    stored = _without_defaults(spec.plain())
    if spec.plugins:
        stored["plugins"] = [plugin.place for plugin in spec.plugins]  # the files run: a description trains nothing
    return read_study(Document(stored), f"the stored study {study!r}", overrides, earlier=spec.vocabulary.earlier)


def _require_runnable(name: str) -> None:
    """Refuse a name that no study file can have; other programs copy and rename studies as they like."""
    newest = successor(name)
    if newest is not None:
        rule = f"is kept as it was before {newest} evolved, and is not run any more; --set name=... begins another"
        raise UserError(Problem(rule, name, nearest=newest))
    parent = parent_of(name)
    if parent is not None:
        rule = f"belongs to the study {parent!r}, and finalize runs it: cifar-tune finalize {parent}"
        raise UserError(Problem(rule, name))
    if not is_study_name(name):
        rule = (
            f"another program gave the study this name, and the name of a study that is run {NAME_RULE}; rename it in "
            f"the dashboard, or begin another study like it with --set name=..."
        )
        raise UserError(Problem(rule, repr(name)))


def when_reached(step: Callable[[], Result], url: URL) -> Result:
    """Take the first step of a long command that needs the database; a server that is starting is waited for.

    Raises:
        CheckError: the database cannot be used.
    """
    return at_first(step, url, lambda text: typer.echo(f"cifar-tune: {text}", err=True), lambda: None)


def find_record(study: str, url: URL) -> StudyRecord:
    """What the storage holds of a study, named by its file or by its name.

    Raises:
        UserError: if the storage does not exist, or has no such study.
        CheckError: the database cannot be used.
    """
    name, storage = find_stored(study, url)
    try:
        return load_record(storage, name)
    except (SQLAlchemyError, StorageInternalError) as error:
        raise unusable(url, error.__cause__ or error) from error


def find_stored(study: str, url: URL) -> tuple[str, BatchStorage]:
    """The name of a study, given by its file or by its name, and the storage that must hold it.

    Raises:
        UserError: if there is no storage yet, or the file is wrong.
    """
    file = study_file(study, lambda: _stored_names(url))
    name = read_study_name(file) if file is not None else study
    return name, existing(url, name)


def existing(url: URL, study: str) -> BatchStorage:
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


def _stored_names(url: URL) -> list[str]:
    storage = open_existing(url)
    if storage is None:
        return []
    try:
        return study_names(storage)
    finally:
        close(storage)


def _without_defaults(plain: dict[str, Any]) -> dict[str, Any]:
    """`None` stands for a default in stored sections, and is not something that a file says."""
    return {
        key: {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else value
        for key, value in plain.items()
    }
