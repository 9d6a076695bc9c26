"""Wishes of people and of the server to the process that runs a study: park, or use other devices.

The process looks at them about once per second. A wish names the token of the lease that it is meant for, so it never
reaches a later run. The table is made together with those of the service (`cifar_tune.service.schema`).
"""

from sqlalchemy import JSON, Boolean, Column, Float, MetaData, String, Table

METADATA = MetaData()

WISHES = Table(
    "cifar_tune_wishes",
    METADATA,
    Column("study", String(100), primary_key=True),
    Column("lease", String(32), nullable=False),  # the token of the lease
    Column("park", Boolean, nullable=False),
    Column(
        "devices", JSON(none_as_null=True)
    ),  # a list such as ["cpu", "cuda:0"], one for each executor; NULL: as they are
    Column("by", String(100), nullable=False),  # who wishes it
    Column("at", Float(53), nullable=False),  # seconds since the epoch
)
