"""Whose trial has which number, where another program was quicker by a moment.

A database gives numbers to trials in the order in which they arrive, but a study in memory has given them already: a
checkpoint and lines on the terminal bear them. The other trial, which nobody has seen yet, gets the later number.
"""

from optuna.storages import RDBStorage
from sqlalchemy import select, update

from cifar_tune.optuna_internals import TRIALS


def give_number(storage: RDBStorage, study: int, trial: int, number: int) -> bool:
    """Let the trial with this id have `number`, and whichever has it that of the trial: both, or neither.

    Returns:
        Whether there was another with that number; else nothing is changed.
    """
    with storage.engine.begin() as connection:
        of_study = TRIALS.c.study_id == study
        found = connection.execute(select(TRIALS.c.trial_id).where(of_study & (TRIALS.c.number == number)))
        other = found.scalar_one_or_none()
        own = connection.execute(select(TRIALS.c.number).where(TRIALS.c.trial_id == trial)).scalar_one()
        if other is None:
            return False
        for each, its_number in ((other, own), (trial, number)):
            connection.execute(update(TRIALS).where(TRIALS.c.trial_id == each).values(number=its_number))
    return True
