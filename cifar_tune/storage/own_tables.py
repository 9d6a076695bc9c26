"""The tables beside Optuna's that say who runs a study, and what that run is asked to do.

Both belong to a run: a wish carries the token of the lease, so it never hits a later run of the same study.

On MySQL and MariaDB they take every letter and compare names exactly, whatever the database's own character set is.
Tables that an earlier version made are changed by `service.migrations`.
"""

from contextlib import suppress
from hashlib import sha256

from sqlalchemy import Column, Engine, Float, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import TEXT, VARCHAR
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

LONGEST_HOST = 255
LONGEST_BY = 255
_LONGEST_KEY = 100
_TOKEN = 32


def exact(length: int) -> String:
    """The type of a text that takes every letter, and is compared letter by letter, on every database."""
    letters = VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return String(length).with_variant(letters, "mysql", "mariadb")


def exact_text() -> Text:
    """The same for texts of up to 65,535 bytes."""
    return Text().with_variant(TEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


METADATA = MetaData()
LEASES = Table(
    "cifar_tune_leases",
    METADATA,
    Column("study", exact(_LONGEST_KEY), primary_key=True),
    Column("token", String(_TOKEN), nullable=False),
    Column("host", exact(LONGEST_HOST), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started", String(64), nullable=False),
    Column("expires", Float(53), nullable=False),
)
WISHES = Table(
    "cifar_tune_wishes",
    METADATA,
    Column("study", exact(_LONGEST_KEY), primary_key=True),
    Column("token", String(_TOKEN), nullable=False),
    Column("park", Integer, nullable=False),  # 0 or 1
    Column("devices", exact_text(), nullable=True),  # a JSON list of names; NULL leaves the devices as they are
    Column("by", exact(LONGEST_BY), nullable=False),
    Column("at", Float(53), nullable=False),  # seconds since the epoch
)


def create_tables(engine: Engine) -> None:
    """Create those of the two tables that are missing: each by itself, since another process may do so meanwhile."""
    for table in (LEASES, WISHES):
        with suppress(OperationalError, ProgrammingError, IntegrityError):  # another process created it at this instant
            table.create(engine, checkfirst=True)


def study_key(study: str) -> str:
    """What stands for a study in the tables: its name; of a longer one, which only another program gives, a digest."""
    if len(study) <= _LONGEST_KEY:
        return study
    digest = sha256(study.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{study[: _LONGEST_KEY - len(digest) - 1]}#{digest}"
