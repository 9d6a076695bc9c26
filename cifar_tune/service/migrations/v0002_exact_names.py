"""Names of people compare exactly on every database; a server says where it is found, and how many slots are busy."""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.mysql import VARCHAR

revision = "0002"
down_revision: str | None = "0001"

_EXACT = VARCHAR(100, charset="utf8mb4", collation="utf8mb4_bin")
_PEOPLE = (
    ("cifar_tune_names", "owner", False),
    ("cifar_tune_submissions", "owner", False),
    ("cifar_tune_tokens", "owner", False),
    ("cifar_tune_tokens", "created_by", False),
    ("cifar_tune_owners", "name", False),
    ("cifar_tune_usage", "owner", False),
    ("cifar_tune_events", "actor", False),
    ("cifar_tune_events", "target", True),
)
"""Table, column, and whether it may be NULL."""


def upgrade(op: Operations) -> None:
    """Make two tables; MySQL and MariaDB take `anna` and `Anna` for the same person no more."""
    if op.get_bind().dialect.name in ("mysql", "mariadb"):  # SQLite and PostgreSQL compare exactly anyway
        for table, column, is_nullable in _PEOPLE:
            op.alter_column(table, column, type_=_EXACT, existing_nullable=is_nullable)
    there = sa.inspect(op.get_bind()).get_table_names()  # MySQL keeps what a killed upgrade has made
    if "cifar_tune_busy_slots" not in there:
        op.create_table(
            "cifar_tune_busy_slots",
            sa.Column("at", sa.Float(53), primary_key=True, autoincrement=False),
            sa.Column("busy", sa.Integer(), nullable=False),
        )
    if "cifar_tune_servers" not in there:
        op.create_table(
            "cifar_tune_servers",
            sa.Column("lease", sa.String(32), primary_key=True),
            sa.Column("address", sa.Text(), nullable=False),
        )
