"""The first tables of the service."""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0001"
down_revision: str | None = None

_LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def upgrade(op: Operations) -> None:
    """Make all tables, and the row that counts events."""
    _make_tables_of_studies(op)
    _make_tables_of_people(op)
    op.create_table(
        "cifar_tune_events",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("target", sa.String(100)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
    )
    op.create_index("ix_cifar_tune_events_target", "cifar_tune_events", ["target"])
    counters = op.create_table(
        "cifar_tune_counters",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(counters, [{"name": "events", "value": 0}])


def _make_tables_of_studies(op: Operations) -> None:
    op.create_table(
        "cifar_tune_names",
        sa.Column("study", sa.String(100), primary_key=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
    )
    op.create_table(
        "cifar_tune_submissions",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("study", sa.String(100), nullable=False),
        sa.Column("living", sa.String(100), unique=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text()),
        sa.Column("text", _LONG_TEXT, nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("workers", sa.Integer()),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("wanted", sa.String(16), nullable=False),
        sa.Column("submitted_at", sa.Float(53), nullable=False),
        sa.Column("waiting_since", sa.Float(53), nullable=False),
        sa.Column("started_at", sa.Float(53)),
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("message", sa.Text()),
        sa.Column("device_seconds", sa.Float(53), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("notify", sa.JSON(), nullable=False),
        sa.Column("waits", sa.Text()),
        sa.Column("position", sa.Integer()),
        sqlite_autoincrement=True,
    )
    for column in ("owner", "state", "study"):
        op.create_index(f"ix_cifar_tune_submissions_{column}", "cifar_tune_submissions", [column])


def _make_tables_of_people(op: Operations) -> None:
    op.create_table(
        "cifar_tune_tokens",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("label", sa.String(100), nullable=False),
        sa.Column("created_by", sa.String(100), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53)),
        sa.Column("used_at", sa.Float(53)),
        sa.Column("revoked_at", sa.Float(53)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cifar_tune_tokens_owner", "cifar_tune_tokens", ["owner"])
    op.create_table(
        "cifar_tune_sessions",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("token", sa.Integer(), sa.ForeignKey("cifar_tune_tokens.id"), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("ix_cifar_tune_sessions_token", "cifar_tune_sessions", ["token"])
    op.create_table(
        "cifar_tune_owners",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("weight", sa.Float(53)),
        sa.Column("slots", sa.Integer()),
        sa.Column("queued", sa.Integer()),
        sa.Column("trials", sa.Integer()),
    )
    op.create_table(
        "cifar_tune_usage",
        sa.Column("owner", sa.String(100), primary_key=True),
        sa.Column("device_seconds", sa.Float(53), nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )
