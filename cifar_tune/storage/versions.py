"""Earlier versions of a study: `NAME@1`, `NAME@2`. No study file can have such a name, so none is in the way.

A study that evolves is copied first, under a name that nobody sees; then both names change in one transaction. A
process that is killed leaves the old study or the new one, and nothing in between. A study that begins gets its name
in the same way: whoever finds it finds its specification too.
"""

import re

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError

from cifar_tune.errors import CheckError
from cifar_tune.optuna_tables import STUDIES, TRIALS

_LONGEST = 95  # leases name studies in 100 characters
COPY = "@evolving"
"""The end of the name of an unfinished study: a copy of one that evolves, or one that begins."""

_EARLIER = re.compile(r".*@[0-9]+", re.DOTALL)


def copy_name(study: str) -> str:
    """The name of a study until it is finished: of the copy of one that evolves, or of one that begins."""
    return f"{study}{COPY}"


def is_earlier_version(name: str) -> bool:
    """Whether this is a study as it was before it evolved, which is not run any more."""
    return _EARLIER.fullmatch(name) is not None


def successor(name: str) -> str | None:
    """The name of the study that an earlier version evolved into; None if this is no earlier version."""
    return name.rpartition("@")[0] if is_earlier_version(name) else None


def is_copy(name: str) -> bool:
    """Whether this study is unfinished: nothing but what a killed process left behind, or one makes right now."""
    return name.endswith(COPY)


def next_version(storage: RDBStorage, study: str, last: int) -> tuple[str, int]:
    """The name under which the present study will be kept, and its number: above all that were given before.

    Not the number of a version that was deleted, which `carried_from` and openings of the test set still name.

    Args:
        storage: holds the study.
        study: its name.
        last: the number of the version that the present study was made from; 0 if from none.
    """
    stem = f"{study[:_LONGEST]}@"
    ends = [name.removeprefix(stem) for name in optuna.get_all_study_names(storage) if name.startswith(stem)]
    number = 1 + max([last, *(int(end) for end in ends if end.isascii() and end.isdecimal())])
    return f"{stem}{number}", number


def put_in_place(storage: RDBStorage, study: str, version: str) -> None:
    """Call the present study `version`, and its finished copy by the study's name: both, or neither.

    What a killed run left running in it waits from then on, since nobody goes on with it there.
    """
    of_study = select(STUDIES.c.study_id).where(STUDIES.c.study_name == study).scalar_subquery()
    orphans = (TRIALS.c.study_id == of_study) & (TRIALS.c.state == TrialState.RUNNING)
    with storage.engine.begin() as connection:
        connection.execute(update(TRIALS).where(orphans).values(state=TrialState.WAITING))
        _rename(connection, study, version)
        _rename(connection, copy_name(study), study)


def name_new(storage: RDBStorage, study: str) -> None:
    """Give a study that begins its name, once all that belongs to it is stored.

    Raises:
        CheckError: another program has made a study of this name meanwhile, or has taken over this one.
    """
    try:
        with storage.engine.begin() as connection:
            is_there = _rename(connection, copy_name(study), study)
    except IntegrityError as error:
        remove_copy(storage, study)
        raise CheckError(f"another program has made a study {study!r} at this moment; use another name") from error
    if not is_there:
        raise CheckError(f"another run has taken over the study {study!r} before it could begin; start again")


def _rename(connection: Connection, before: str, after: str) -> bool:
    """Returns whether there was such a study."""
    renamed = connection.execute(update(STUDIES).where(STUDIES.c.study_name == before).values(study_name=after))
    return renamed.rowcount > 0


def remove_copy(storage: RDBStorage, study: str) -> bool:
    """Delete what is unfinished of a study; returns whether there was anything."""
    if copy_name(study) not in optuna.get_all_study_names(storage):
        return False
    optuna.delete_study(study_name=copy_name(study), storage=storage)
    return True
