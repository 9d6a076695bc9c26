"""The number of the newest event is known at once on SQLite, and never a wrong one."""

from pathlib import Path

from sqlalchemy import Engine

from cifar_tune.service.newest_event import NewestEvent
from cifar_tune.storage.urls import sqlite_file

from .conftest import DeskOf


def test_it_is_known_at_once_on_sqlite(desk_of: DeskOf, engine: Engine, tmp_path: Path) -> None:
    root, newest = desk_of("root", "admin"), NewestEvent(engine)
    assert newest.peek() is None  # nobody has looked whether the database is there
    file = sqlite_file(engine.url)
    for number in range(1, 4):
        root.create_token("anna", "viewer")
        assert newest.read() == number
        assert newest.peek() == (None if file is None else number)
    root.create_token("anna", "viewer")  # on a connection of the pool, like that of another process
    assert newest.peek() == (None if file is None else 4)
    if file is None:
        return
    moved = tmp_path / "moved.db"
    file.rename(moved)
    assert newest.peek() is None
    file.touch()
    assert newest.peek() is None  # another file of this name
    moved.replace(file)
    assert newest.peek() == 4
    engine.dispose()
    assert newest.peek() is None
    assert (newest.read(), newest.peek()) == (4, 4)
