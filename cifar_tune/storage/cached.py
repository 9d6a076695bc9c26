"""Optuna's cache of finished trials, emptied when an id belongs to another study than before.

The cache knows studies and trials by their ids alone, and nobody tells it when another program deletes a study. SQLite
gives the ids of deleted rows to new ones, so a new study would show trials of the old one.
"""

from threading import Lock

from optuna.storages import BaseStorage, RDBStorage, get_storage

from cifar_tune.optuna_questions import Beginning, beginnings


class CachedStorage:
    """A storage from which each finished trial is read once.

    Args:
        storage: the database.
    """

    def __init__(self, storage: RDBStorage) -> None:
        self._database = storage
        self._lock = Lock()
        self._known: dict[int, Beginning] = {}
        self.storage: BaseStorage = get_storage(storage)

    def renew_if_changed(self) -> bool:
        """Empty the cache if a study was deleted or renamed, or has the id of an earlier one.

        Call it before each look at the studies. Several threads may do so at a time.

        Returns:
            Whether the cache was emptied; `storage` is then a new object.

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
