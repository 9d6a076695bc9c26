"""Earlier versions of a study: `NAME@1`, `NAME@2`. No study file can have such a name, so none is in the way.

A study that evolves is copied first, under a name that nobody sees; then both names change in one transaction. A
process that is killed leaves the old study or the new one, and nothing in between.
"""

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Column, MetaData, String, Table, update

_STUDIES = Table("studies", MetaData(), Column("study_name", String(512)))  # Optuna's; only the name is touched
_LONGEST = 95  # leases name studies in 100 characters
_COPY = "@evolving"


def copy_name(study: str) -> str:
    """The name of the copy that is being made of a study."""
    return f"{study}{_COPY}"


def is_copy(name: str) -> bool:
    """Whether this is an unfinished copy: nothing but what a killed process left behind, or one makes right now."""
    return name.endswith(_COPY)


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
    """Call the present study `version`, and its finished copy by the study's name: both, or neither."""
    with storage.engine.begin() as connection:
        for before, after in ((study, version), (copy_name(study), study)):
            connection.execute(update(_STUDIES).where(_STUDIES.c.study_name == before).values(study_name=after))


def remove_copy(storage: RDBStorage, study: str) -> bool:
    """Delete an unfinished copy of the study; returns whether there was one."""
    if copy_name(study) not in optuna.get_all_study_names(storage):
        return False
    optuna.delete_study(study_name=copy_name(study), storage=storage)
    return True
