"""What happens in a database between the statements of something, at each moment once."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Engine

T = TypeVar("T")


def at_each_moment(engine: Engine, happens: Callable[[], object], use: Callable[[], T]) -> Iterator[T]:
    """What `use` returns where something happens before its first statement; then before its second one, and so on.

    The last time nothing happens. Each time the database is what it was at the beginning.

    Args:
        engine: of an SQLite database, by which `use` reads and writes.
        happens: by another engine.
        use: what is disturbed. Nothing else uses the engine meanwhile.
    """
    first = 0
    file, before = sqlite3.connect(str(engine.url.database)), sqlite3.connect(":memory:")
    with closing(file), closing(before):
        file.backup(before)
        while True:
            before.backup(file)
            left = [first]

            def counted(*_: object, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] == -1:
                    happens()

            event.listen(engine, "before_cursor_execute", counted)
            try:
                found = use()
            finally:
                event.remove(engine, "before_cursor_execute", counted)
            yield found
            if left[0] >= 0:
                return
            first += 1
