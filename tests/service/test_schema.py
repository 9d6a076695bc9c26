"""The tables of the service: made, upgraded, compared, and left alone where they are newer."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from cifar_tune.service import schema
from cifar_tune.service.schema import NewerSchemaError, differences, upgrade, version_of
from cifar_tune.service.tables import METADATA, VERSION


def test_the_migrations_make_the_tables_that_the_code_expects(engine: Engine) -> None:
    assert version_of(engine) == VERSION
    assert differences(engine) == []
    assert set(METADATA.tables) <= set(inspect(engine).get_table_names())
    assert all(name.startswith("cifar_tune_") for name in METADATA.tables)


def test_what_is_missing_is_named(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE cifar_tune_usage"))
        connection.execute(text("ALTER TABLE cifar_tune_owners DROP COLUMN weight"))
    assert sorted(differences(engine)) == [
        "column cifar_tune_owners.weight is missing",
        "table cifar_tune_usage is missing",
    ]


def test_optunas_version_is_left_alone(engine: Engine) -> None:
    with engine.connect() as connection:
        assert str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()).startswith("v")


def test_a_newer_schema_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE cifar_tune_schema SET version_num = '0999'"))
    for use in (upgrade, differences):
        with pytest.raises(NewerSchemaError, match=f"have version 0999, and this program knows {VERSION} at most"):
            use(engine)


def test_the_newest_migration_is_the_version() -> None:
    folder = Path(schema.__file__).parent
    scripts = ScriptDirectory(str(folder), version_locations=[str(folder / "migrations")])
    assert scripts.get_heads() == [VERSION]
