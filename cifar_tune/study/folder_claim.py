"""Which folder below the artifacts folder is a study's own: the one that bears the study's identity.

A name says little. Databases can hold studies of one name; a study can be deleted and begun again, copied together with
all its attributes, or renamed; and a database can be copied, moved or removed. So each study gets an identity when it
is created, and a folder of that name. A study that finds its identity in use by another one gets a new one, and links
to the checkpoints. Nothing that belongs to another identity is ever used or emptied.
"""

import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.errors import CifarTuneError, DamagedError
from cifar_tune.files import is_real_folder, read_regular, replace_file
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_existing
from cifar_tune.storage.urls import (
    artifacts_folder,
    checkpoints_in,
    folder_name,
    found_folder,
    is_folder_name,
    shown,
    sqlite_file,
    study_folder,
)
from cifar_tune.study.checkpoints import numbers_in, take_over

_MARK = "study.json"
_MARK_BYTES = 10_000
_IDENTITY = re.compile(r"[0-9a-f]{32}")


def new_identity() -> str:
    """An identity that no study of any database has."""
    return uuid.uuid4().hex


def claim_folder(study: optuna.Study, storage: BaseStorage, url: URL) -> Iterator[str]:
    """Give the study an identity if it has none of its own, and make its folder; the caller holds the study's lease.

    Checkpoints that it had under another name, or in the study that it was copied from, are there afterwards.

    Args:
        study: in the storage.
        storage: the database.
        url: of the database.

    Yields:
        Sentences about what was found, and about what could not be done: training goes on without checkpoints.

    Raises:
        UserError: a link is in the way of the folder.
    """
    identity = _identity(study.user_attrs)
    there = _folder_of(study.study_name, identity) if identity else None
    is_copy = there is not None and _is_anothers(there, study.study_name, storage, url)
    try:
        if identity is None or is_copy:
            made = new_identity()
            folder = _made(study.study_name, made, url)
            if there is not None:
                yield from _take_over_all(there, folder)
            study.set_user_attr(attributes.IDENTITY, made)
            return
        folder = study_folder(study.study_name, identity)
        if there is not None and there != folder:  # the study was renamed
            folder.parent.mkdir(parents=True, exist_ok=True)
            there.rename(folder)
            with suppress(OSError):  # other studies have had that name too
                there.parent.rmdir()
        _made(study.study_name, identity, url)
        yield from _about_deleted(folder, storage, url)
    except OSError as error:
        yield f"checkpoints cannot be written: {error.strerror}: {error.filename}; training goes on without them"


def own_folder(name: str, attrs: Mapping[str, Any], storage: BaseStorage, url: URL) -> Path | None:
    """The folder that can be deleted together with a study; None if it has none, or shares it with another study.

    Args:
        name: of the study.
        attrs: its user attributes.
        storage: the database.
        url: of the database.
    """
    identity = _identity(attrs)
    folder = _folder_of(name, identity) if identity else None
    if identity is None or folder is None or _names(storage, identity) - {name}:
        return None
    return None if _is_anothers(folder, name, storage, url) else folder


def remove_study(storage: BaseStorage, name: str, url: URL) -> list[Path]:
    """Delete a study with its folder, whatever is in it; returns what could not be deleted. The caller holds its lease.

    Args:
        storage: the database.
        name: of the study.
        url: of the database.
    """
    number = storage.get_study_id_from_name(name)
    try:
        folder = own_folder(name, storage.get_study_user_attrs(number), storage, url)
    except DamagedError:
        folder = None
    storage.delete_study(number)
    return [] if folder is None else remove_folder(folder)


def remove_folder(folder: Path) -> list[Path]:
    """Delete a study's folder, and that of its name if it was the last one there; returns what could not be deleted."""
    left: list[Path] = []
    shutil.rmtree(folder, onerror=lambda _function, path, _error: left.append(Path(path)))
    with suppress(OSError):
        folder.parent.rmdir()
    return left


def _identity(attrs: Mapping[str, Any]) -> str | None:
    found = attrs.get(attributes.IDENTITY)
    return found if isinstance(found, str) and _IDENTITY.fullmatch(found) else None


def _folder_of(name: str, identity: str) -> Path | None:
    """The folder of the study under its name, else the one that it had under another name."""
    own = artifacts_folder() / folder_name(name) / identity if is_folder_name(name) else None
    return own if own is not None and is_real_folder(own) else found_folder(identity)


def _is_anothers(folder: Path, name: str, storage: BaseStorage, url: URL) -> bool:
    """Whether another study has the identity of this one, and the older right to its folder."""
    identity = folder.name
    if folder.parent.name != folder_name(name) and _names(storage, identity) - {name}:
        return True
    place = _read(folder / _MARK).get("storage")
    return place is not None and place != _place(url) and _is_in(place, identity, url)


def _names(storage: BaseStorage, identity: str) -> set[str]:
    """The names of the studies with an identity: several where one was copied."""
    found = storage.get_all_studies()
    return {each.study_name for each in found if each.user_attrs.get(attributes.IDENTITY) == identity}


def _is_in(place: str, identity: str, ours: URL) -> bool:
    """Whether another database has a study of this identity; only of an SQLite file can that be found out."""
    with suppress(CifarTuneError, SQLAlchemyError, ValueError, OSError):
        url = make_url(place)
        file, own = sqlite_file(url), sqlite_file(ours)
        if file is None or not file.exists() or (own is not None and own.samefile(file)):
            return False
        storage = open_existing(url)
        if storage is not None:
            try:
                return bool(_names(storage, identity))
            finally:
                close(storage)
    return False


def _made(name: str, identity: str, url: URL) -> Path:
    """The study's folder, with a note for people and for other databases of whose it is."""
    folder = study_folder(name, identity)
    checkpoints_in(folder).mkdir(parents=True, exist_ok=True)
    mark = {"study": name, "storage": _place(url)}
    if _read(folder / _MARK) != mark:
        replace_file(folder / _MARK, json.dumps(mark))
    return folder


def _take_over_all(there: Path, here: Path) -> Iterator[str]:
    numbers = numbers_in(checkpoints_in(there))
    take_over(checkpoints_in(there), checkpoints_in(here), {number: number for number in numbers})
    if numbers:
        yield f"this study is a copy: it has taken over checkpoints from {there}"


def _about_deleted(folder: Path, storage: BaseStorage, url: URL) -> Iterator[str]:
    """A sentence about folders of this name whose studies were in this database and are not any more."""
    others = [each for each in folder.parent.iterdir() if _IDENTITY.fullmatch(each.name) and each != folder]
    others = [each for each in others if _read(each / _MARK).get("storage") == _place(url)]
    if others:
        known = {each.user_attrs.get(attributes.IDENTITY) for each in storage.get_all_studies()}
        left = ", ".join(str(each) for each in sorted(others) if each.name not in known)
        if left:
            yield (
                f"checkpoints of a study that this database does not have any more: {left}; keep them if there is a "
                f"saved, moved or backed-up database with that study, which goes on from them; else they can be deleted"
            )


def _read(file: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        mark = json.loads(read_regular(file, _MARK_BYTES))
        if isinstance(mark, dict):
            return {key: value for key, value in mark.items() if isinstance(value, str)}
    return {}


def _place(url: URL) -> str:
    file = sqlite_file(url)
    return shown(url if file is None else url.set(database=str(file.resolve())))
