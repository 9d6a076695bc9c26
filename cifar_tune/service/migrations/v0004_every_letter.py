"""MySQL and MariaDB take every letter, whatever the database's own character set is; leases compare names exactly."""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.mysql import MEDIUMTEXT, TEXT, VARCHAR
from sqlalchemy.types import TypeEngine

revision = "0004"
down_revision: str | None = "0003"

_LETTERS = {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
_TEXT = TEXT(charset="utf8mb4", collation="utf8mb4_bin")
_TEXTS: tuple[tuple[str, str, TypeEngine[str], bool], ...] = (
    ("cifar_tune_submissions", "file", _TEXT, False),
    ("cifar_tune_submissions", "folder", _TEXT, True),
    ("cifar_tune_submissions", "text", MEDIUMTEXT(**_LETTERS), False),
    ("cifar_tune_submissions", "message", _TEXT, True),
    ("cifar_tune_submissions", "waits", _TEXT, True),
    ("cifar_tune_tokens", "label", VARCHAR(100, **_LETTERS), False),
    ("cifar_tune_servers", "address", _TEXT, False),
    ("cifar_tune_identities", "issuer", _TEXT, False),
    ("cifar_tune_identities", "subject", _TEXT, False),
    ("cifar_tune_leases", "study", VARCHAR(100, **_LETTERS), False),
    ("cifar_tune_leases", "host", VARCHAR(255, **_LETTERS), False),
    ("cifar_tune_wishes", "study", VARCHAR(100, **_LETTERS), False),
    ("cifar_tune_wishes", "devices", _TEXT, True),
    ("cifar_tune_wishes", "by", VARCHAR(255, **_LETTERS), False),
)
"""Table, column, type, and whether it may be NULL."""

_STUDIES = (
    ("cifar_tune_names", "study", False),
    ("cifar_tune_submissions", "study", False),
    ("cifar_tune_submissions", "living", True),
)
"""Names of studies compare as those in Optuna's table do."""


def upgrade(op: Operations) -> None:
    """Change the columns; SQLite and PostgreSQL take every letter and compare exactly anyway."""
    connection = op.get_bind()
    if connection.dialect.name not in ("mysql", "mariadb"):
        return
    there = sa.inspect(connection).get_table_names()  # leases and wishes are made when the first run begins
    for table, column, kind, is_nullable in _TEXTS:
        if table in there:
            op.alter_column(table, column, type_=kind, existing_nullable=is_nullable)
    collation = connection.execute(
        sa.text(
            "SELECT collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = 'cifar_tune_names' AND column_name = 'study'"
        )
    ).scalar_one()
    is_exact = str(collation).endswith(("_bin", "_cs"))
    names = VARCHAR(100, charset="utf8mb4", collation="utf8mb4_bin" if is_exact else "utf8mb4_general_ci")
    for table, column, is_nullable in _STUDIES:
        op.alter_column(table, column, type_=names, existing_nullable=is_nullable)
