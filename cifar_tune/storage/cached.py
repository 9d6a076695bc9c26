"""Optuna's cache of finished trials, made anew where a study is another one than before.

The cache knows studies and trials by their ids alone, and is never told that another program deleted them. SQLite gives
such ids again: a new study would show trials of the old one.
"""

from threading import Lock

from optuna.storages import BaseStorage, RDBStorage, get_storage

from cifar_tune.optuna_tables import Beginning, beginnings


class CachedStorage:
    """A storage whose finished trials are read once, for as long as they are there.

    Args:
        storage: the database.
    """

    def __init__(self, storage: RDBStorage) -> None:
        self._database = storage
        self._lock = Lock()
        self._known: dict[int, Beginning] = {}
        self.storage: BaseStorage = get_storage(storage)

    def renew_if_changed(self) -> bool:
        """Begin with an empty cache if a study was deleted, renamed, or has another one's id; returns whether it did.

        To be called before each look, of which there may be several at a time.

        Raises:
            SQLAlchemyError: the database does not answer.
        """
        found = beginnings(self._database.engine)
        with self._lock:
            has_changed = any(found.get(study) != known for study, known in self._known.items())
            self._known = found
            if has_changed:
                self.storage = get_storage(self._database)
            return has_changed
