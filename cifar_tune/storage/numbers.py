"""Whose trial has which number, where another program was quicker by a moment.

A database gives numbers to trials in the order in which they arrive, but a study in memory has given them already: a
checkpoint and lines on the terminal bear them. The other trial, which nobody has seen yet, gets the later number.
"""

from optuna.storages import RDBStorage
from sqlalchemy import Column, Integer, MetaData, Table, select, update

_TRIALS = Table(  # Optuna's; only the number is touched
    "trials", MetaData(), Column("trial_id", Integer), Column("study_id", Integer), Column("number", Integer)
)


def give_number(storage: RDBStorage, study: int, trial: int, number: int) -> bool:
    """Let the trial with this id have `number`, and whichever has it that of the trial: both, or neither.

    Returns:
        Whether there was another with that number; else nothing is changed.
    """
    with storage.engine.begin() as connection:
        of_study = _TRIALS.c.study_id == study
        found = connection.execute(select(_TRIALS.c.trial_id).where(of_study & (_TRIALS.c.number == number)))
        other = found.scalar_one_or_none()
        own = connection.execute(select(_TRIALS.c.number).where(_TRIALS.c.trial_id == trial)).scalar_one()
        if other is None:
            return False
        for each, its_number in ((other, own), (trial, number)):
            connection.execute(update(_TRIALS).where(_TRIALS.c.trial_id == each).values(number=its_number))
    return True
