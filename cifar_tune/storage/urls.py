"""Where studies and artifacts are kept."""

import errno
import os
import re
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import quote, quote_plus, unquote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import is_real_folder
from cifar_tune.paths import given_path

DEFAULT_STORAGE = "sqlite:///storage/cifar_tune.db"
DEFAULT_ARTIFACTS = "storage/artifacts"
STORAGE_VARIABLE = "CIFAR_TUNE_STORAGE"
ARTIFACTS_VARIABLE = "CIFAR_TUNE_ARTIFACTS"

_DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql"}
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:@[0-9]+|/finals|/networks)?")
# a study, an earlier version of one, or one that is linked to another
_SQLITE_NAME = re.compile(r"[^@:?]+\.(?:db|db3|sqlite|sqlite3)")
_HARMLESS = frozenset(
    (
        # libpq, and its names in SQLAlchemy
        "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname",
        "fallback_application_name", "gssencmode", "host", "hostaddr", "keepalives", "keepalives_count",
        "keepalives_idle", "keepalives_interval", "load_balance_hosts", "port", "require_auth", "service", "sslcert",
        "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "ssl_min_protocol_version",
        "ssl_max_protocol_version", "target_session_attrs", "tcp_user_timeout", "user",
        # PyMySQL
        "autocommit", "charset", "collation", "database", "local_infile", "program_name", "read_timeout", "ssl_ca",
        "ssl_cert", "ssl_disabled", "ssl_key", "ssl_verify_cert", "ssl_verify_identity", "unix_socket", "use_unicode",
        "write_timeout",
        # SQLite
        "cache", "check_same_thread", "immutable", "mode", "nolock", "timeout", "uri", "vfs",
    )
)  # fmt: skip
"""Parameters of a URL whose values are no secrets. All others may be, those of drivers that come later among them."""

_HIDDEN = "***"
_LEAST_CHARACTERS = 4
"""Of a secret that is looked for inside of words, and of a parameter that may be one at all: `1` is in any sentence."""

_SURELY_SECRET = frozenset({"password", "passwd", "sslpassword"})
_IN_TEXT = re.compile(r"(?:postgres(?:ql)?|mysql|mariadb|sqlite)(?:\+\w+)?://[^\s'\"<>]*")
_PASSWORD = re.compile(r"(://[^\s:/@?]*):[^\s@]+@")
_EXAMPLES = "sqlite:///storage/cifar_tune.db, postgresql://user@host/database or mysql://user@host/database"


def storage_url(given: str | None) -> URL:
    """The storage's URL: `--storage`, else the environment variable CIFAR_TUNE_STORAGE, else the default SQLite file.

    Raises:
        UserError: if it is not a URL of a database that we know, or the path of an SQLite file stands for nothing. The
            message never shows a password.
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
    if backend == "sqlite":
        url = url.set(database=str(given_path(str(url.database), source)))
    if "+" not in url.drivername and backend in _DRIVERS:
        url = url.set(drivername=_DRIVERS[backend])
    return url


def shown(url: URL) -> str:
    """The URL as it may be printed: without its password, and without the values of parameters that may be secrets."""
    hidden = url.update_query_dict({name: _HIDDEN for name in url.query if name not in _HARMLESS})
    return hidden.render_as_string(hide_password=True).replace(quote_plus(_HIDDEN), _HIDDEN)


def without_secrets(words: str, url: URL) -> str:
    """A database's own words, which may repeat what it was given."""
    secrets = [str(url.password or "")]
    for name, given in url.query.items():
        values = (given,) if isinstance(given, str) else given
        if name in _SURELY_SECRET:
            secrets += values
        elif name not in _HARMLESS:
            secrets += [value for value in values if len(value) >= _LEAST_CHARACTERS]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):  # one may be a part of another
        for written in (secret, quote(secret, safe=""), quote_plus(secret)):
            found = re.escape(written)
            if len(written) < _LEAST_CHARACTERS:  # `p` is a part of most words
                found = rf"(?<!\w){found}(?!\w)"
            words = re.sub(found, _HIDDEN, words)
    return without_secrets_of_urls(words)


def without_secrets_of_urls(text: str) -> str:
    """A text in which the URLs of databases have no passwords, and no values of parameters that may be secrets."""

    def hide(found: re.Match[str]) -> str:
        address, mark, query = found[0].partition("?")
        return address + mark + re.sub(r"([^&=]+)=([^&]*)", hide_value, query)

    def hide_value(found: re.Match[str]) -> str:
        return found[0] if unquote_plus(found[1]) in _HARMLESS else f"{found[1]}={_HIDDEN}"

    return _IN_TEXT.sub(hide, _PASSWORD.sub(rf"\1:{_HIDDEN}@", text))


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
    """The folder of checkpoints and artifacts.

    Raises:
        UserError: if the variable that names it holds a `~` or another variable that stands for nothing.
    """
    return given_path(os.environ.get(ARTIFACTS_VARIABLE) or DEFAULT_ARTIFACTS, ARTIFACTS_VARIABLE)


def require_artifacts_folder() -> None:
    """Make the artifacts folder if it is missing, and try to write into it. A full disk is no mistake: it gets room.

    Raises:
        UserError: if it cannot be made, or not be written to.
    """
    folder = artifacts_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        rule = f"the artifacts folder cannot be written ({error.strerror}); set {ARTIFACTS_VARIABLE} to another"
        raise UserError(Problem(rule, str(folder))) from error


def is_folder_name(study: str) -> bool:
    """Whether a study's name can be that of a folder; study files have no others, but other programs may."""
    return _FOLDER_NAME.fullmatch(study) is not None


def folder_name(study: str) -> str:
    """The name of the folder in the artifacts folder that is a study's by its name."""
    return study.replace("/", "@")


def model_folder(study: str) -> Path:
    """The folder that a study's final model is written into, unless one says otherwise.

    Raises:
        UserError: another program gave the study a name that leads out of `models/`.
    """
    if not is_folder_name(study):
        raise UserError(Problem(f"the name of the study {study!r} is none for a folder; name one with --save"))
    return Path("models") / study


def study_folder(study: str, identity: str) -> Path:
    """Everything that a study keeps outside of the database lies in here.

    Args:
        study: its name, for people: studies of one name, in other databases or deleted, each have a folder.
        identity: its `attributes.IDENTITY`.

    Raises:
        UserError: if it would not be a folder of its own in the artifacts folder.
    """
    if not is_folder_name(study):
        raise UserError(Problem(f"the study {study!r} cannot have a folder of its own: another program named it"))
    folder = artifacts_folder() / folder_name(study) / identity
    for path in (folder.parent, folder, checkpoints_in(folder)):
        if path.is_symlink():
            rule = f"is a link, to {path.readlink()}, and checkpoints are kept in real folders; remove it"
            raise UserError(Problem(f"{rule}, or set {ARTIFACTS_VARIABLE}", source=str(path)))
    return folder


def found_folder(identity: str) -> Path | None:
    """The folder of the study with this identity, under whatever name it has been run; None if there is none."""
    found = (folder for folder in artifacts_folder().glob(f"*/{identity}") if is_real_folder(folder))
    return next((folder for folder in found if is_real_folder(folder.parent)), None)


def checkpoints_in(folder: Path) -> Path:
    """Where in a study's folder the newest checkpoints of its trials lie."""
    return folder / "checkpoints"


def checkpoint_name(number: int) -> str:
    """The file name of a trial's newest checkpoint."""
    return f"trial-{number:06d}.pt"
