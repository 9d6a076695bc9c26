"""Removes a study for good, with all that `finalize` has made for it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL

from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.lease import acquire
from cifar_tune.storage.linked import linked_to
from cifar_tune.storage.stored_studies import study_names
from cifar_tune.study.folder_claim import remove_study


@dataclass(frozen=True, slots=True)
class Removed:
    """What is gone.

    Attributes:
        study: its name.
        linked: names of the studies that went with it.
        left: files of theirs that could not be deleted.
    """

    study: str
    linked: tuple[str, ...] = ()
    left: tuple[Path, ...] = ()


def remove_with_linked(database: BatchStorage, name: str, url: URL) -> Removed:
    """Remove a study that is stored, its trials and its checkpoints; likewise `NAME/finals` and `NAME/networks`.

    Args:
        database: that holds it.
        name: of the study.
        url: of the database.

    Raises:
        CheckError: somebody runs it; nothing was removed.
        KeyError: somebody else has removed it meanwhile.
    """
    linked = linked_to(name, study_names(database))
    left: list[Path] = []
    with acquire(database.engine, name).kept():  # not while somebody runs it; a study of many trials takes a while
        for each in linked:
            with suppress(KeyError), acquire(database.engine, each).kept():
                left += remove_study(database, each, url)
        left += remove_study(database, name, url)
    return Removed(name, tuple(linked), tuple(left))
