"""Where studies and artifacts are kept."""

import os
import re
import shutil
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cifar_tune.errors import Problem, UserError

DEFAULT_STORAGE = "sqlite:///storage/cifar_tune.db"
DEFAULT_ARTIFACTS = "storage/artifacts"
STORAGE_VARIABLE = "CIFAR_TUNE_STORAGE"
ARTIFACTS_VARIABLE = "CIFAR_TUNE_ARTIFACTS"

_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql"}
_CHECKPOINTS = "checkpoints"
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:@[0-9]+)?")  # a study, or an earlier version of one
_SQLITE_NAME = re.compile(r"[^@:?]+\.(?:db|db3|sqlite|sqlite3)")
_SECRETS = {"password", "passwd", "sslpassword"}
_EXAMPLES = "sqlite:///storage/cifar_tune.db, postgresql://user@host/database or mysql://user@host/database"


def storage_url(given: str | None) -> URL:
    """The storage's URL: `--storage`, else the environment variable CIFAR_TUNE_STORAGE, else the default SQLite file.

    Raises:
        UserError: if it is not a URL of a database that we know. The message never shows a password.
    """
    text = given or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    source = "--storage" if given else STORAGE_VARIABLE
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # ValueError: the port is no number
        rule = f"is not a database URL; it must look like {_EXAMPLES}"
        is_file = _SQLITE_NAME.fullmatch(text) is not None
        raise UserError(Problem(rule, source, nearest=f"sqlite:///{text}" if is_file else None)) from error
    if url.host and "@" in url.host:  # the end of a password, which no message may show
        raise UserError(Problem("holds more than one @; write %40 for one in a user name or a password", source))
    if url.get_backend_name() == "postgres":  # as some providers write it
        url = url.set(drivername=url.drivername.replace("postgres", "postgresql", 1))
    backend = url.get_backend_name()
    if backend not in ("sqlite", *_DRIVERS):
        raise UserError(Problem(f"{backend!r} is not supported; use {_EXAMPLES}", source))
    if backend == "sqlite" and (not url.database or url.database.startswith((":memory:", "file:"))):
        raise UserError(Problem(f"must name a file, such as {DEFAULT_STORAGE}; memory keeps nothing", source))
    if "+" not in url.drivername and backend in _DRIVERS:
        url = url.set(drivername=_DRIVERS[backend])
    return url


def shown(url: URL) -> str:
    """The URL as it may be printed: without its password."""
    return url.difference_update_query(_SECRETS).render_as_string(hide_password=True)


def without_secrets(words: str, url: URL) -> str:
    """A database's own words, which may repeat what it was given."""
    for secret in (url.password, *(value for key, value in url.query.items() if key in _SECRETS)):
        for written in (str(secret), quote(str(secret), safe=""), quote_plus(str(secret))) if secret else ():
            words = words.replace(written, "***")
    return words


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite URL; None for other databases."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def driver_advice(url: URL) -> str:
    """What to do where the database's driver is missing."""
    if url.drivername in _DRIVERS.values():
        return f"install it with: pip install 'cifar-tune[{_EXTRAS[url.get_backend_name()]}]'"
    _, _, driver = url.drivername.partition("+")
    return f"leave +{driver} out of the URL"


def artifacts_folder() -> Path:
    """The folder of checkpoints and artifacts."""
    return Path(os.environ.get(ARTIFACTS_VARIABLE) or DEFAULT_ARTIFACTS)


def made_artifacts_folder(study: str) -> Path:
    """The folder of a study's checkpoints, made if it is missing.

    Raises:
        UserError: if it cannot be made, or not be written to, or a link leads out of it.
    """
    folder = checkpoint_file(study, 0).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        rule = f"the artifacts folder cannot be written ({error.strerror}); set {ARTIFACTS_VARIABLE} to another"
        raise UserError(Problem(rule, str(artifacts_folder()))) from error
    return folder


def is_folder_name(study: str) -> bool:
    """Whether a study's name can be that of a folder; study files have no others, but other programs may."""
    return _FOLDER_NAME.fullmatch(study) is not None


def study_folder(study: str) -> Path:
    """Everything that a study keeps outside of the database lies in here.

    Raises:
        UserError: if that would be somewhere else than in the artifacts folder.
    """
    if not is_folder_name(study):
        raise UserError(Problem(f"the study {study!r} cannot have a folder of its own: another program named it"))
    folder = artifacts_folder() / study
    inside = artifacts_folder().resolve() / study
    for path in (folder, folder / _CHECKPOINTS):
        if not path.resolve().is_relative_to(inside):
            rule = f"is a link that leads out of the artifacts folder, to {path.resolve()}; remove it"
            raise UserError(Problem(f"{rule}, or set {ARTIFACTS_VARIABLE}", source=str(path)))
    return folder


def staged_folder(study: str, version: int) -> Path:
    """Where checkpoints lie that belong to the study as it will be once its earlier version has this number."""
    return study_folder(study) / f"{_CHECKPOINTS}@{version}"


def made_staged_folder(study: str, version: int) -> Path:
    """The same, made, and empty."""
    folder = staged_folder(study, version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def checkpoint_file(study: str, number: int) -> Path:
    """Where a trial's newest checkpoint lies.

    Raises:
        UserError: see `study_folder`.
    """
    return study_folder(study) / _CHECKPOINTS / f"trial-{number:06d}.pt"
