"""The tables of the service. They lie in the same database as Optuna's, and all names begin with `cifar_tune_`.

Times are seconds since the epoch (UTC). `migrations/` makes the tables; a test compares both.
"""

import re

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT, VARCHAR

from cifar_tune.storage.own_tables import exact, exact_text

VERSION_TABLE = "cifar_tune_schema"
"""Holds the version of our tables. Optuna keeps its own in `alembic_version`, which is left alone."""

VERSION = "0004"
"""The version that these tables have: the name of the newest migration."""

SERVER_LEASE = "cifar-tune serve"
"""The name of the lease that a server holds, as a run holds that of its study."""

LONGEST_NAME = 100
"""Characters of the name of a study or a person."""

METADATA = MetaData()
"""All tables that the migrations make. Leases and wishes are not among them: `storage.own_tables` makes those."""

_TEXT = exact_text()
_LONG_TEXT = Text().with_variant(MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
_SECONDS = Float(53)
_PERSON = exact(LONGEST_NAME)
"""MySQL takes `anna` and `Anna` for the same name unless it is told otherwise."""

_STUDY = String(LONGEST_NAME).with_variant(VARCHAR(LONGEST_NAME, charset="utf8mb4"), "mysql", "mariadb")
"""How names of studies compare is left to MySQL: Optuna's table has them too, and two that it cannot tell apart have no
place there. Where the database compares exactly, the migrations see to it that these columns do too.
"""

NAMES = Table(
    "cifar_tune_names",
    METADATA,
    Column("study", _STUDY, primary_key=True),
    Column("owner", _PERSON, nullable=False),
    Column("since", _SECONDS, nullable=False),
)
"""Whose study a name is: that of the first person who submitted it. Studies that `run` has made are not in here."""

SUBMISSIONS = Table(
    "cifar_tune_submissions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("study", _STUDY, nullable=False, index=True),
    Column("living", _STUDY, unique=True),  # the study's name until the submission has ended, then NULL
    Column("owner", _PERSON, nullable=False, index=True),
    Column("file", _TEXT, nullable=False),  # the name of the study file, for messages
    Column("folder", _TEXT),  # relative paths in it begin here; NULL: in the server's folder
    Column("text", _LONG_TEXT, nullable=False),  # of the study file, with `--set` applied
    Column("priority", Integer, nullable=False),
    Column("workers", Integer),  # most slots; NULL: as many as there are
    Column("trials", Integer, nullable=False),  # budget.trials
    Column("state", String(16), nullable=False, index=True),  # queued, running, paused, done, failed, cancelled
    Column("wanted", String(16), nullable=False),  # run, pause, cancel
    Column("submitted_at", _SECONDS, nullable=False),
    Column("waiting_since", _SECONDS, nullable=False),  # when it was queued last
    Column("started_at", _SECONDS),  # for the first time
    Column("ended_at", _SECONDS),
    Column("exit_code", Integer),
    Column("message", _TEXT),  # how it ended, or what went wrong last
    Column("device_seconds", _SECONDS, nullable=False),
    Column("deaths", Integer, nullable=False),  # coordinators that died in a row without a finished epoch in between
    Column("notify", JSON, nullable=False),  # a list of addresses; they may hold secrets
    Column("waits", _TEXT),  # a sentence of the server: why it waits
    Column("position", Integer),  # in the queue, from 1
    sqlite_autoincrement=True,  # numbers are never given twice
)

TOKENS = Table(
    "cifar_tune_tokens",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("owner", _PERSON, nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("label", exact(LONGEST_NAME), nullable=False),
    Column("created_by", _PERSON, nullable=False),
    Column("created_at", _SECONDS, nullable=False),
    Column("expires_at", _SECONDS),
    Column("used_at", _SECONDS),
    Column("revoked_at", _SECONDS),
    sqlite_autoincrement=True,
)

SESSIONS = Table(
    "cifar_tune_sessions",
    METADATA,
    Column("sha256", String(64), primary_key=True),
    Column("token", Integer, ForeignKey(TOKENS.c.id), nullable=False, index=True),
    Column("created_at", _SECONDS, nullable=False),
    Column("expires_at", _SECONDS, nullable=False),
)
"""Browsers that have logged in with a token. They end with it."""

IDENTITIES = Table(
    "cifar_tune_identities",
    METADATA,
    Column("sha256", String(64), primary_key=True),  # of issuer and subject, which are too long for a key
    Column("owner", _PERSON, nullable=False, unique=True),
    Column("issuer", _TEXT, nullable=False),
    Column("subject", _TEXT, nullable=False),
    Column("token", Integer, ForeignKey(TOKENS.c.id), nullable=False),  # that the sessions of the person hang on
    Column("since", _SECONDS, nullable=False),
)
"""Accounts at an identity provider (OpenID Connect), and whose they are here: an account keeps its name for good."""

OWNERS = Table(
    "cifar_tune_owners",
    METADATA,
    Column("name", _PERSON, primary_key=True),
    Column("weight", _SECONDS),  # of the fair share
    Column("slots", Integer),  # most that may be used at a time
    Column("queued", Integer),  # most studies that may wait
    Column("trials", Integer),  # most trials of all studies that have not ended, together
)
"""What NULL leaves open is said by the row named `*`, and there it means 1 for the weight and no limit for the rest."""

USAGE = Table(
    "cifar_tune_usage",
    METADATA,
    Column("owner", _PERSON, primary_key=True),
    Column("device_seconds", _SECONDS, nullable=False),  # decayed up to `at`
    Column("at", _SECONDS, nullable=False),
)

BUSY_SLOTS = Table(
    "cifar_tune_busy_slots",
    METADATA,
    Column("at", _SECONDS, primary_key=True, autoincrement=False),
    Column("busy", Integer, nullable=False),
)
"""How many slots studies hold, from this time on: a row at each change, and one that says until when; for a day."""

EVENTS = Table(
    "cifar_tune_events",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", _SECONDS, nullable=False),
    Column("actor", _PERSON, nullable=False),
    Column("action", String(40), nullable=False),
    Column("target", _PERSON, index=True),
    Column("outcome", String(16), nullable=False),
    Column("detail", JSON, nullable=False),
)
"""Append-only. Numbers have no gaps and are given in the order of the transactions: see `cifar_tune.service.audit`."""

SERVERS = Table(
    "cifar_tune_servers",
    METADATA,
    Column("lease", String(32), primary_key=True),  # the token of the server's lease
    Column("address", _TEXT, nullable=False),
)
"""Where the server is found. What another lease has written is out of date."""

COUNTERS = Table(
    "cifar_tune_counters",
    METADATA,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

_LARGEST = 2**62


def storable(number: int | None) -> int | None:
    """A number that every database can compare with, which is as good as any larger one."""
    return None if number is None else max(-_LARGEST, min(_LARGEST, number))


def is_storable(text: str) -> bool:
    """Whether every database takes a text: none takes halves of characters, and PostgreSQL no zero character."""
    return not _UNSTORABLE.search(text)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
