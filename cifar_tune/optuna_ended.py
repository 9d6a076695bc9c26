"""What Optuna's tables say of the trials of a study that have ended, counted and sorted by the database itself.

Like `optuna_tables`, it relies on the tables of Optuna, and `tests/test_optuna_contract.py` tries it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import ColumnElement, Engine, String, case, cast, exists, func, select, type_coerce

from cifar_tune.optuna_tables import (
    FINITE,
    STUDIES,
    STUDY_USER_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
    Decoded,
    SenselessError,
)
from cifar_tune.wording import first_line

_ENDED = tuple(state for state in TrialState if state.is_finished())
_KIND = cast(VALUES.c.value_type, String(16))  # an enumeration of PostgreSQL
_INFINITE = case((_KIND == "INF_POS", 1), (_KIND == "INF_NEG", -1), else_=0)
"""1 and -1 of infinite values, which no database sorts rightly."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The trials of a study that had ended at some moment; they never change. Relies on `trials`.

    Attributes:
        study: its id.
        highest: the highest id of a trial that there was.
        unfinished: ids of those that ran or waited.
    """

    study: int
    highest: int
    unfinished: frozenset[int]

    @property
    def where(self) -> ColumnElement[bool]:
        """What is true of them."""
        found = (TRIALS.c.study_id == self.study) & (TRIALS.c.trial_id <= self.highest) & TRIALS.c.state.in_(_ENDED)
        return found & TRIALS.c.trial_id.not_in(sorted(self.unfinished)) if self.unfinished else found


def oldest_trials(engine: Engine, studies: Sequence[int]) -> dict[int, tuple[int, object]]:
    """The id of the oldest trial of each of these studies that has one, and when it began, by the study's id.

    The time is what the database holds, in UTC: a text in SQLite, which need not be a time in a damaged file. Relies on
    `studies` and `trials`.
    """
    trial, other = TRIALS.alias(), TRIALS.alias()
    oldest = select(func.min(other.c.trial_id)).where(other.c.study_id == STUDIES.c.study_id).correlate(STUDIES)
    wanted = select(STUDIES.c.study_id, trial.c.trial_id, type_coerce(trial.c.datetime_start, String))
    wanted = wanted.join(trial, trial.c.study_id == STUDIES.c.study_id).where(STUDIES.c.study_id.in_(studies))
    wanted = wanted.where(trial.c.trial_id == oldest.scalar_subquery())
    with engine.connect() as connection:
        return {study: (first, began) for study, first, began in connection.execute(wanted)}


@dataclass(frozen=True, slots=True)
class Outline:
    """The trials of a study at some moment. Relies on nothing of Optuna.

    Attributes:
        counts: how many are in each state; the state of the oldest one first.
        highest_number: the highest number of one; -1 without trials.
        highest_id: the highest id of one; -1 without trials.
    """

    counts: Mapping[TrialState, int]
    highest_number: int
    highest_id: int

    @property
    def unfinished(self) -> int:
        """How many have not ended."""
        return sum(count for state, count in self.counts.items() if not state.is_finished())


def outline(engine: Engine, study: int) -> Outline:
    """The trials of a study as they are now. Relies on `trials`.

    Raises:
        SenselessError: the state of one cannot be read.
    """
    number, trial = TRIALS.c.number, TRIALS.c.trial_id
    columns = TRIALS.c.state, func.count(), func.min(number), func.max(number), func.max(trial)
    with engine.connect() as connection:
        try:
            rows = connection.execute(select(*columns).where(TRIALS.c.study_id == study).group_by(TRIALS.c.state)).all()
        except LookupError as error:
            raise SenselessError(f"the state of a trial cannot be read: {first_line(error)}") from error
    for row in rows:
        if odd := [each for each in row[2:4] if not isinstance(each, int)]:
            raise SenselessError(f"the number of a trial is {odd[0]!r}, and must be a whole number")
    return Outline(
        {row[0]: row[1] for row in sorted(rows, key=lambda row: row[2])},
        max((row[3] for row in rows), default=-1),
        max((row[4] for row in rows), default=-1),
    )


def seen_now(engine: Engine, study: int) -> Seen:
    """Those that have ended by now. Relies on `trials`."""
    of_study = TRIALS.c.study_id == study
    with engine.connect() as connection:
        highest = connection.execute(
            select(func.coalesce(func.max(TRIALS.c.trial_id), -1)).where(of_study)
        ).scalar_one()
        # what ends between the two queries has ended, and what is added there is above
        unfinished = of_study & (TRIALS.c.trial_id <= highest) & TRIALS.c.state.not_in(_ENDED)
        found = connection.execute(select(TRIALS.c.trial_id).where(unfinished)).scalars()
        return Seen(study, highest, frozenset(found))


def seen_since(engine: Engine, seen: Seen) -> tuple[list[int], Seen]:
    """The ids of the trials that have ended since, and what has ended by now. Relies on `trials`."""
    is_new = TRIALS.c.trial_id > seen.highest
    if seen.unfinished:
        is_new |= TRIALS.c.trial_id.in_(sorted(seen.unfinished))
    wanted = select(TRIALS.c.trial_id, TRIALS.c.state).where(TRIALS.c.study_id == seen.study, is_new)
    with engine.connect() as connection:
        rows = connection.execute(wanted.order_by(TRIALS.c.trial_id)).all()
    states = {row[0]: row[1] for row in rows}
    ended = [trial for trial, state in states.items() if state.is_finished()]
    return ended, Seen(seen.study, max([seen.highest, *states]), frozenset(states.keys() - set(ended)))


@dataclass(frozen=True, slots=True)
class Alike:
    """How many trials are in one state, with one value of an attribute, and with or without another attribute.

    Relies on nothing of Optuna.
    """

    state: TrialState
    value: Any
    has_other: bool
    count: int


def counts_of_seen(engine: Engine, seen: Seen, key: str, other: str) -> list[Alike]:
    """How many of them are alike, those of the oldest one first: in one go, since each look at a row takes its time.

    Relies on `trials` and on the table of user attributes.

    Args:
        engine: of the database.
        seen: which trials.
        key: the user attribute whose values count; None where a trial has none.
        other: the user attribute of which it only counts whether it is there.
    """
    of_trial = (USER_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id) & (USER_ATTRIBUTES.c.key == key)
    further = USER_ATTRIBUTES.alias()
    has_other = case((exists().where(further.c.trial_id == TRIALS.c.trial_id, further.c.key == other), 1), else_=0)
    each = (
        select(TRIALS.c.state, USER_ATTRIBUTES.c.value_json, has_other.label("has_other"), TRIALS.c.number)
        .outerjoin(USER_ATTRIBUTES, of_trial)
        .where(seen.where)
        .subquery()
    )
    alike = each.c.state, each.c.value_json, each.c.has_other
    with engine.connect() as connection:
        found = connection.execute(
            select(*alike, func.count()).group_by(*alike).order_by(func.min(each.c.number))
        ).all()
    decoded = Decoded()
    return [
        Alike(state, None if text is None else decoded.attribute(key, text), bool(has_it), count)
        for state, text, has_it, count in found
    ]


def failed_of_seen(engine: Engine, seen: Seen, key: str) -> dict[int, Any]:
    """The user attribute `key` of those that failed, by their numbers; None where one has none.

    Relies on `trials` and on the table of user attributes.
    """
    own = (USER_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id) & (USER_ATTRIBUTES.c.key == key)
    wanted = select(TRIALS.c.number, USER_ATTRIBUTES.c.value_json).outerjoin(USER_ATTRIBUTES, own)
    wanted = wanted.where(seen.where, TRIALS.c.state == TrialState.FAIL).order_by(TRIALS.c.number)
    with engine.connect() as connection:
        found = connection.execute(wanted).all()
    decoded = Decoded()
    return {number: None if text is None else decoded.attribute(key, text) for number, text in found}


def _best_first(is_max: bool) -> list[ColumnElement[Any]]:
    """The best values first, and of equal ones the oldest trial. Relies on `trials` and `trial_values`."""
    values = (_INFINITE, VALUES.c.value)
    return [*(each.desc() if is_max else each for each in values), TRIALS.c.number]


def best_of_seen(engine: Engine, seen: Seen, is_max: bool, skipped: int, most: int) -> list[int]:
    """The ids of the completed ones by their first value, the best first, and of equal ones the oldest.

    Relies on `trials` and `trial_values`.

    Args:
        engine: of the database.
        seen: which trials.
        is_max: whether higher is better.
        skipped: this many better ones are left out.
        most: how many at most.
    """
    wanted = select(TRIALS.c.trial_id).join(VALUES, VALUES.c.trial_id == TRIALS.c.trial_id)
    wanted = wanted.where(seen.where, TRIALS.c.state == TrialState.COMPLETE, VALUES.c.objective == 0)
    ordered = wanted.order_by(*_best_first(is_max)).offset(skipped).limit(most)
    with engine.connect() as connection:
        return list(connection.execute(ordered).scalars())


def has_odd_values(engine: Engine, seen: Seen) -> bool:
    """Whether a completed one has not exactly one value, or one that is no number: then no database sorts them rightly.

    Relies on `trials` and `trial_values`, which has each objective of a trial once.
    """
    is_sound = ((_KIND == FINITE) & VALUES.c.value.is_not(None)) | _KIND.in_(("INF_POS", "INF_NEG"))
    if engine.dialect.name == "sqlite":  # its columns hold whatever is written into them
        is_sound &= (_KIND != FINITE) | func.typeof(VALUES.c.value).in_(("real", "integer"))
    is_sound &= VALUES.c.objective == 0
    completed = seen.where & (TRIALS.c.state == TrialState.COMPLETE)
    # a trial without a value has a row that is not sound, and one with several has objectives beside the first
    wanted = select(func.count(), func.count(case((is_sound, 1)))).select_from(
        TRIALS.outerjoin(VALUES, VALUES.c.trial_id == TRIALS.c.trial_id)
    )
    with engine.connect() as connection:
        rows, sound = connection.execute(wanted.where(completed)).one()
    return bool(rows != sound)


def best_of_studies(
    engine: Engine, studies: Sequence[int], is_max: bool, has: str, why: str, but: str
) -> dict[int, tuple[int, float] | None]:
    """The number and the first value of the best completed trial of each of these studies that has one.

    None where one of the two is no number. Relies on `trials`, `trial_values` and the table of user attributes.

    Args:
        engine: of the database.
        studies: their ids.
        is_max: whether higher is better.
        has: only trials with this user attribute count.
        why: only trials with this user attribute, which is a text that is not empty, count.
        but: what that text must not be.
    """
    has_it = exists().where(USER_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id, USER_ATTRIBUTES.c.key == has)
    is_right = exists().where(
        USER_ATTRIBUTES.c.trial_id == TRIALS.c.trial_id,
        USER_ATTRIBUTES.c.key == why,
        USER_ATTRIBUTES.c.value_json.not_in(("null", '""', json.dumps(but))),
    )
    place = func.row_number().over(partition_by=TRIALS.c.study_id, order_by=_best_first(is_max))
    ordered = (
        select(TRIALS.c.study_id, TRIALS.c.number, VALUES.c.value, _INFINITE.label("infinite"), place.label("place"))
        .join(VALUES, (VALUES.c.trial_id == TRIALS.c.trial_id) & (VALUES.c.objective == 0))
        .where(TRIALS.c.study_id.in_(studies), TRIALS.c.state == TrialState.COMPLETE, has_it, is_right)
        .subquery()
    )
    with engine.connect() as connection:
        rows = connection.execute(select(ordered).where(ordered.c.place == 1)).all()
    return {
        row.study_id: _number_and_value(row.number, row.infinite * math.inf if row.infinite else row.value)
        for row in rows
    }


def _number_and_value(number: object, value: object) -> tuple[int, float] | None:
    """What SQLite has kept, as it keeps anything in any column. Relies on nothing of Optuna."""
    return (number, value) if isinstance(number, int) and isinstance(value, float | int) else None


def user_attribute_of_studies(engine: Engine, studies: Sequence[int], key: str) -> dict[int, Any]:
    """The user attribute `key` of each of these studies by its id; what is no JSON is left out.

    Relies on the table of user attributes of studies.
    """
    columns = STUDY_USER_ATTRIBUTES.c
    wanted = select(columns.study_id, columns.value_json).where(columns.study_id.in_(studies), columns.key == key)
    found = {}
    with engine.connect() as connection:
        for study, text in connection.execute(wanted):
            with suppress(TypeError, ValueError):
                found[study] = json.loads(text)
    return found
