"""How many trials the studies of a database have in each state, and what has changed since somebody counted.

Like `optuna_tables`, it relies on the tables of Optuna, and `tests/test_optuna_contract.py` tries it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from optuna.trial import TrialState
from sqlalchemy import Engine, func, literal, null, select, union_all

from cifar_tune.optuna_tables import STUDIES, STUDY_USER_ATTRIBUTES, TRIALS, SenselessError
from cifar_tune.plain_rows import PlainRows, plain_rows
from cifar_tune.wording import first_line

_ENDED = tuple(state for state in TrialState if state.is_finished())


@dataclass(frozen=True, slots=True)
class Counted:
    """Trials of one study in one state. One that has not ended stands alone. Relies on `trials`.

    Attributes:
        study: the study's id.
        state: in which they are.
        count: how many.
        highest: the highest id of one.
    """

    study: int
    state: TrialState
    count: int
    highest: int


def studies_with(engine: Engine, key: str) -> PlainRows:
    """Of each study, the newest first: its id, its name, and the JSON text of its user attribute `key`; None without.

    Relies on `studies` and on the table of user attributes of studies.
    """
    attributes = STUDY_USER_ATTRIBUTES.c
    of_study = (attributes.study_id == STUDIES.c.study_id) & (attributes.key == key)
    wanted = select(STUDIES.c.study_id, STUDIES.c.study_name, attributes.value_json)
    wanted = wanted.select_from(STUDIES.outerjoin(STUDY_USER_ATTRIBUTES, of_study))
    with engine.connect() as connection:
        return plain_rows(connection, wanted.order_by(STUDIES.c.study_id.desc()))


def count_all(engine: Engine) -> list[Counted]:
    """All trials, counted at one moment. Relies on `trials`.

    Raises:
        SenselessError: the state of one cannot be read.
    """
    columns = TRIALS.c.study_id, TRIALS.c.state
    together = select(*columns, func.count(), func.max(TRIALS.c.trial_id)).where(TRIALS.c.state.in_(_ENDED))
    alone = select(*columns, literal(1), TRIALS.c.trial_id).where(TRIALS.c.state.not_in(_ENDED))
    with engine.connect() as connection:
        try:
            rows = connection.execute(union_all(together.group_by(*columns), alone)).all()
        except LookupError as error:
            raise SenselessError(f"the state of a trial cannot be read: {first_line(error)}") from error
    return [Counted(*row) for row in rows]


def count_since(engine: Engine, highest: int, unfinished: Collection[int]) -> tuple[list[Counted], int]:
    """Trials with a higher id and those with these ids, each alone, and how many trials there are: at one moment.

    Relies on `trials`.

    Raises:
        SenselessError: the state of one cannot be read.
    """
    columns = TRIALS.c.study_id, TRIALS.c.state, TRIALS.c.trial_id
    is_wanted = TRIALS.c.trial_id > highest
    if unfinished:
        is_wanted |= TRIALS.c.trial_id.in_(sorted(unfinished))
    in_all = select(literal(-1), null(), func.count()).select_from(TRIALS)
    with engine.connect() as connection:
        try:
            rows = connection.execute(union_all(select(*columns).where(is_wanted), in_all)).all()
        except LookupError as error:
            raise SenselessError(f"the state of a trial cannot be read: {first_line(error)}") from error
    total = next(count for study, _, count in rows if study == -1)
    return [Counted(study, state, 1, trial) for study, state, trial in rows if study != -1], total
