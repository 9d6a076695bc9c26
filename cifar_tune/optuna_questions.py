"""Questions that the database answers by itself about studies and trials: counts, names, attributes, times.

Like `optuna_tables`, it relies on the tables of Optuna, and `tests/test_optuna_contract.py` tries it.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import TrialState
from sqlalchemy import (
    Engine,
    exists,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from cifar_tune.optuna_tables import (
    PARAMS,
    REPORTS,
    STUDIES,
    STUDY_USER_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    Decoded,
    SenselessError,
)
from cifar_tune.wording import first_line

_AT_ONCE = 400
"""Ids in one statement."""


def numbers_of_trials(engine: Engine, study: int) -> tuple[int, int]:
    """How many trials a study has, and the highest number of one; -1 if it has none. Relies on `trials`."""
    wanted = select(func.count(), func.max(TRIALS.c.number)).where(TRIALS.c.study_id == study)
    with engine.connect() as connection:
        count, highest = connection.execute(wanted).one()
    return count, -1 if highest is None else highest


def distributions_of_study(engine: Engine, study: int) -> list[tuple[str, BaseDistribution]]:
    """Each parameter of a study's trials with its distribution, once for each that it had. Relies on `trial_params`."""
    is_of_trial = TRIALS.c.trial_id == PARAMS.c.trial_id
    wanted = select(PARAMS.c.param_name, PARAMS.c.distribution_json).join(TRIALS, is_of_trial)
    with engine.connect() as connection:
        found = connection.execute(wanted.where(TRIALS.c.study_id == study).distinct()).all()
    decoded = Decoded()
    return [(name, decoded.parameter(name, 0, text)[1]) for name, text in found]


def states_of_trials(engine: Engine, study: int) -> dict[TrialState, int]:
    """How many trials of a study are in each state; the state of the oldest one first. Relies on `trials`."""
    counted = select(TRIALS.c.state, func.count()).where(TRIALS.c.study_id == study).group_by(TRIALS.c.state)
    with engine.connect() as connection:
        try:
            found = connection.execute(counted.order_by(func.min(TRIALS.c.number))).all()
        except LookupError as error:
            raise SenselessError(f"the state of a trial cannot be read: {first_line(error)}") from error
    return {row[0]: row[1] for row in found}


def ids_of_studies(engine: Engine, names: Sequence[str] | None = None) -> dict[str, int]:
    """The id of each study of these names, or of all studies, the newest study first. Relies on `studies`."""
    wanted = select(STUDIES.c.study_name, STUDIES.c.study_id).order_by(STUDIES.c.study_id.desc())
    if names is not None:
        wanted = wanted.where(STUDIES.c.study_name.in_(names))
    with engine.connect() as connection:
        return {str(name): study for name, study in connection.execute(wanted)}


def states_of_studies(engine: Engine, studies: Collection[int]) -> dict[int, dict[TrialState, int]]:
    """The same as `states_of_trials` of several studies at a time, by the study's id.

    A study without trials is left out. Relies on `trials`.
    """
    counted = select(TRIALS.c.study_id, TRIALS.c.state, func.count()).group_by(TRIALS.c.study_id, TRIALS.c.state)
    counted = counted.where(TRIALS.c.study_id.in_(studies))
    found: dict[int, dict[TrialState, int]] = defaultdict(dict)
    with engine.connect() as connection:
        try:
            for study, state, count in connection.execute(counted):
                found[study][state] = count
        except LookupError as error:
            raise SenselessError(f"the state of a trial cannot be read: {first_line(error)}") from error
    return dict(found)


def states_of_all_trials(engine: Engine) -> dict[TrialState, int]:
    """How many trials of all studies together are in each state. Relies on `trials`."""
    counted = select(TRIALS.c.state, func.count()).group_by(TRIALS.c.state)
    with engine.connect() as connection:
        try:
            return {row[0]: row[1] for row in connection.execute(counted)}
        except LookupError as error:
            raise SenselessError(f"the state of a trial cannot be read: {first_line(error)}") from error


def trial_ids(
    engine: Engine, study: int, first: int, most: int, states: Collection[TrialState] | None = None
) -> list[int]:
    """The ids of at most this many trials of a study, from the trial with the number `first` on, by their numbers.

    Relies on `trials`.
    """
    wanted = select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study, TRIALS.c.number >= first)
    if states is not None:
        wanted = wanted.where(TRIALS.c.state.in_(states))
    with engine.connect() as connection:
        return list(connection.execute(wanted.order_by(TRIALS.c.number).limit(most)).scalars())


def counts_of_user_attribute(engine: Engine, study: int, key: str) -> list[tuple[Any, int]]:
    """How many trials of a study have each value of the user attribute `key`; that of the oldest one first.

    Relies on `trials` and on the table of user attributes.
    """
    text = USER_ATTRIBUTES.c.value_json
    counted = select(text, func.count()).join(TRIALS, TRIALS.c.trial_id == USER_ATTRIBUTES.c.trial_id)
    counted = counted.where(TRIALS.c.study_id == study, USER_ATTRIBUTES.c.key == key).group_by(text)
    with engine.connect() as connection:
        found = connection.execute(counted.order_by(func.min(TRIALS.c.number))).all()
    decoded = Decoded()
    return [(decoded.attribute(key, value), count) for value, count in found]


def ended_without_user_attribute(engine: Engine, study: int, key: str) -> int:
    """How many trials of a study have ended and have no user attribute `key`. Relies on `trials` and on its table."""
    has_it = exists().where(USER_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id, USER_ATTRIBUTES.c.key == key)
    ended = [state for state in TrialState if state.is_finished()]
    counted = select(func.count()).where(TRIALS.c.study_id == study, TRIALS.c.state.in_(ended), ~has_it)
    with engine.connect() as connection:
        return connection.execute(counted).scalar_one()


def ended_last(engine: Engine, study: int, count: int) -> list[int]:
    """The ids of the trials of a study that ended last, at most `count`, in order of their ends. Relies on `trials`."""
    wanted = select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study, TRIALS.c.datetime_complete.is_not(None))
    newest = wanted.order_by(TRIALS.c.datetime_complete.desc(), TRIALS.c.number.desc()).limit(count)
    with engine.connect() as connection:
        return list(connection.execute(newest).scalars())[::-1]


def user_attribute_of_trials(engine: Engine, study: int, key: str) -> dict[int, Any]:
    """The user attribute `key` of those trials of a study that have it, by number. Relies on its table."""
    wanted = select(TRIALS.c.number, USER_ATTRIBUTES.c.value_json).join(
        USER_ATTRIBUTES, (USER_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id) & (USER_ATTRIBUTES.c.key == key)
    )
    with engine.connect() as connection:
        found = connection.execute(wanted.where(TRIALS.c.study_id == study)).all()
    decoded = Decoded()
    return {number: decoded.attribute(key, text) for number, text in found}


def parts_of_unfinished(engine: Engine, study: int) -> tuple[int, int]:
    """How many reports and user attributes the trials of a study have that run or wait, all together.

    Relies on `trials`, `trial_intermediate_values` and the table of user attributes.
    """
    unfinished = select(TRIALS.c.trial_id).where(
        TRIALS.c.study_id == study, TRIALS.c.state.in_((TrialState.RUNNING, TrialState.WAITING))
    )
    with engine.connect() as connection:
        ids = list(connection.execute(unfinished).scalars())[:_AT_ONCE]
        reports = select(func.count()).where(REPORTS.c.trial_id.in_(ids))
        attributes = select(func.count()).where(USER_ATTRIBUTES.c.trial_id.in_(ids))
        return connection.execute(reports).scalar_one(), connection.execute(attributes).scalar_one()


def figures_of_ended(
    engine: Engine, after: datetime, seconds: str, epochs: str, most: int
) -> list[tuple[int, str, float, int]]:
    """Of trials of all studies that ended later: id, state, and two user attributes that are numbers.

    Relies on `trials` and on the table of user attributes.

    Args:
        engine: of the database.
        after: in UTC, without a zone.
        seconds: the user attribute with the first number; trials without it are left out.
        epochs: that with the second number, a whole one; 0 where a trial has none.
        most: trials.
    """
    wanted = select(TRIALS.c.trial_id, TRIALS.c.state).where(TRIALS.c.datetime_complete > after).limit(most)
    with engine.connect() as connection:
        states = {trial: state.name for trial, state in connection.execute(wanted)}
        found: dict[int, dict[str, Any]] = defaultdict(dict)
        ids = list(states)
        for start in range(0, len(ids), _AT_ONCE):
            of_trials = USER_ATTRIBUTES.c.trial_id.in_(ids[start : start + _AT_ONCE])
            columns = USER_ATTRIBUTES.c.trial_id, USER_ATTRIBUTES.c.key, USER_ATTRIBUTES.c.value_json
            of_keys = select(*columns).where(of_trials, USER_ATTRIBUTES.c.key.in_((seconds, epochs)))
            for trial, key, text in connection.execute(of_keys):
                with suppress(ValueError):
                    found[trial][key] = json.loads(text)
    return [
        (trial, states[trial], float(each[seconds]), int(each.get(epochs, 0)))
        for trial, each in found.items()
        if type(each.get(seconds)) in (int, float) and type(each.get(epochs, 0)) is int
    ]


Beginning = tuple[str, int | None, datetime | None]
"""What tells a study from another one that has its id: its name, and the id and the start of its oldest trial."""


def beginnings(engine: Engine) -> dict[int, Beginning]:
    """The beginning of each study, by the study's id. Relies on `studies` and `trials`."""
    oldest = (
        select(TRIALS.c.study_id, func.min(TRIALS.c.trial_id).label("first")).group_by(TRIALS.c.study_id).subquery()
    )
    wanted = (
        select(STUDIES.c.study_id, STUDIES.c.study_name, TRIALS.c.trial_id, TRIALS.c.datetime_start)
        .outerjoin(oldest, oldest.c.study_id == STUDIES.c.study_id)
        .outerjoin(TRIALS, TRIALS.c.trial_id == oldest.c.first)
    )
    with engine.connect() as connection:
        return {study: (name, trial, start) for study, name, trial, start in connection.execute(wanted)}


def study_of_trial(engine: Engine, trial: int) -> int | None:
    """The id of the study that has the trial with this id; None if there is no such trial.

    Optuna has no way to ask for it. Relies on the table `trials`.
    """
    with engine.connect() as connection:
        found: int | None = connection.execute(
            select(TRIALS.c.study_id).where(TRIALS.c.trial_id == trial)
        ).scalar_one_or_none()
    return found


def attributes_of_all_studies(engine: Engine, prefix: str) -> list[tuple[str, str, Any]]:
    """Study, key and value of all user attributes of studies whose keys begin so, but those that are no JSON.

    Relies on the tables and columns that it names.
    """
    statement = (
        select(STUDIES.c.study_name, STUDY_USER_ATTRIBUTES.c.key, STUDY_USER_ATTRIBUTES.c.value_json)
        .join(STUDIES, STUDIES.c.study_id == STUDY_USER_ATTRIBUTES.c.study_id)
        .where(STUDY_USER_ATTRIBUTES.c.key.startswith(prefix, autoescape=True))
        .order_by(STUDIES.c.study_name, STUDY_USER_ATTRIBUTES.c.key)
    )
    with engine.connect() as connection:
        rows = connection.execute(statement).all()
    found = []
    for study, key, text in rows:
        with suppress(TypeError, ValueError):
            found.append((str(study), str(key), json.loads(text)))
    return found


def add_attribute_of_study(engine: Engine, study: int, key: str, value: object) -> bool:
    """Add a user attribute, where the study has none of that key; returns whether it was added.

    Optuna's own way replaces what another process has written in the meantime. Relies on the table allowing each key
    of a study only once.
    """
    row = {"study_id": study, "key": key, "value_json": json.dumps(value)}
    try:
        with engine.begin() as connection:
            connection.execute(insert(STUDY_USER_ATTRIBUTES).values(**row))
    except IntegrityError:
        return False
    return True
