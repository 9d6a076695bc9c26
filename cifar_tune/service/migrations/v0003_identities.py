"""People may log in with an account of an identity provider."""

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.dialects.mysql import VARCHAR

revision = "0003"
down_revision: str | None = "0002"

_EXACT = VARCHAR(100, charset="utf8mb4", collation="utf8mb4_bin")
_PERSON = sa.String(100).with_variant(_EXACT, "mysql", "mariadb")


def upgrade(op: Operations) -> None:
    """Make one table."""
    if "cifar_tune_identities" in sa.inspect(op.get_bind()).get_table_names():
        return  # MySQL keeps what a killed upgrade has made
    op.create_table(
        "cifar_tune_identities",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("owner", _PERSON, nullable=False, unique=True),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer(), sa.ForeignKey("cifar_tune_tokens.id"), nullable=False),
        sa.Column("since", sa.Float(53), nullable=False),
    )
