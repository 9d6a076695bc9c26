"""Rows that the driver gives, and what was made of them the last time."""

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select, update

from cifar_tune.plain_rows import MadeOfRows, PlainRows, plain_rows

THINGS = Table("things", MetaData(), Column("id", Integer, primary_key=True), Column("name", String(20)))


def test_what_was_made_is_the_same_until_a_row_changes() -> None:
    engine = create_engine("sqlite://")
    THINGS.metadata.create_all(engine)
    wanted = select(THINGS.c.id, THINGS.c.name).where(THINGS.c.id > 1).order_by(THINGS.c.id)

    def names(rows: PlainRows) -> list[str]:
        return [name for _, name in rows]

    made = MadeOfRows(names)
    with engine.connect() as connection:
        assert plain_rows(connection, wanted) == []
        connection.execute(insert(THINGS), [{"id": each, "name": f"thing {each}"} for each in (1, 2, 3)])
        assert plain_rows(connection, wanted) == [(2, "thing 2"), (3, "thing 3")]
        first = made.of(plain_rows(connection, wanted))
        assert first == ["thing 2", "thing 3"]
        assert made.of(plain_rows(connection, wanted)) is first
        connection.execute(update(THINGS).where(THINGS.c.id == 3).values(name="another"))
        assert made.of(plain_rows(connection, wanted)) == ["thing 2", "another"]
