"""Writes new trials as rows of Optuna's tables, many of them in one statement: `add_trials`.

Like `optuna_tables`, it relies on the tables of Optuna, and `tests/test_optuna_contract.py` tries it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Table, func, insert, select, update

from cifar_tune.optuna_tables import (
    PARAMS,
    REPORTS,
    STUDIES,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
)

_Known = Mapping[tuple[int, str], BaseDistribution]
"""Distributions of knobs that a study is known to take, by its id and the knob. Relies on nothing of Optuna."""

_Row = dict[str, Any]


def add_trials(
    connection: Connection, study: int, trials: Sequence[FrozenTrial], known: _Known
) -> tuple[list[int], int]:
    """Add new trials to a study; their own ids and numbers are ignored.

    Optuna makes an object of each row, and looks for each value and each knob before it writes it. Here the rows of all
    trials go into each table together: a third of the time for one trial, a twentieth for hundreds at once. Relies on
    the columns of the tables.

    Args:
        connection: in a transaction, which holds all of them or none.
        study: its id.
        trials: in the order of their numbers; at least one.
        known: what need not be compared with what the study has.

    Returns:
        Their ids, and the number of the first one; the others follow it.

    Raises:
        KeyError: there is no such study.
        ValueError: a knob has another kind of distribution in this study.
        SQLAlchemyError: the database failed.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:
        _lock(connection, study)
    first = _add_row(connection, study, trials[0], None)
    if is_sqlite:  # which is locked with the first row: until then, somebody could delete the study
        _lock(connection, study)
    _require_compatible(connection, study, trials, known)
    earlier = select(func.count()).where(TRIALS.c.study_id == study, TRIALS.c.trial_id < first)
    number = int(connection.execute(earlier).scalar_one())
    connection.execute(update(TRIALS).where(TRIALS.c.trial_id == first).values(number=number))
    others = enumerate(trials[1:], start=number + 1)
    ids = [first, *(_add_row(connection, study, trial, its_number) for its_number, trial in others)]
    pairs = list(zip(ids, trials, strict=True))
    _add(connection, VALUES, (row for each, trial in pairs for row in _value_rows(each, trial.values or ())))
    _add(connection, PARAMS, (row for each, trial in pairs for row in _param_rows(each, trial)))
    _add(connection, REPORTS, (row for each, trial in pairs for row in _report_rows(each, trial.intermediate_values)))
    _add(connection, USER_ATTRIBUTES, (row for each, trial in pairs for row in _rows(each, trial.user_attrs)))
    _add(connection, SYSTEM_ATTRIBUTES, (row for each, trial in pairs for row in _rows(each, trial.system_attrs)))
    return ids, number


def _lock(connection: Connection, study: int) -> None:
    """See that a study is there, and let nobody else change it, since numbers are given one by one.

    Relies on `studies`, and on `NOT_FOUND_MSG`.
    """
    locked = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study).with_for_update()
    if connection.execute(locked).one_or_none() is None:
        raise KeyError(models.NOT_FOUND_MSG)


def _add_row(connection: Connection, study: int, trial: FrozenTrial, number: int | None) -> int:
    """Its id. Relies on the columns of `trials`.

    The first row of a transaction has no number yet: SQLite locks a database with the first row that is written, so
    only what is counted afterwards stays true.
    """
    row = {
        "study_id": study,
        "number": number,
        "state": trial.state,
        "datetime_start": _as_utc(trial.datetime_start),
        "datetime_complete": _as_utc(trial.datetime_complete),
    }
    (key,) = cast(tuple[int], connection.execute(insert(TRIALS), row).inserted_primary_key)
    return key


def _as_utc(local: datetime | None) -> datetime | None:
    """As `optuna_tables.as_local`, the other way round. Relies on times being kept in UTC, without a zone."""
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def _require_compatible(connection: Connection, study: int, trials: Sequence[FrozenTrial], known: _Known) -> None:
    """Compare the knobs that are not known with those of the study. Relies on `check_distribution_compatibility`."""
    first: dict[str, BaseDistribution | None] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if known.get((study, name)) == distribution:
                continue
            if name not in first:
                first[name] = _distribution_of(connection, study, name)
            there = first[name]
            if there is None:
                first[name] = distribution
            else:
                check_distribution_compatibility(there, distribution)


def _distribution_of(connection: Connection, study: int, name: str) -> BaseDistribution | None:
    """What some trial of the study has for a knob; None if none has it. Relies on `trial_params`."""
    wanted = select(PARAMS.c.distribution_json).join(TRIALS, TRIALS.c.trial_id == PARAMS.c.trial_id)
    of_study = wanted.where(TRIALS.c.study_id == study, PARAMS.c.param_name == name).limit(1)
    found = connection.execute(of_study).scalar_one_or_none()
    return None if found is None else json_to_distribution(found)


def _add(connection: Connection, table: Table, rows: Iterable[_Row]) -> None:
    """Add rows to a table. Relies on nothing of Optuna."""
    if given := list(rows):
        connection.execute(insert(table), given)


def add_reports(connection: Connection, trial: int, reports: Mapping[int, float]) -> None:
    """Add what a trial, given by its id, reported after steps for which it has nothing yet. Relies on REPORTS."""
    _add(connection, REPORTS, _report_rows(trial, reports))


def _value_rows(trial: int, values: Sequence[float]) -> list[_Row]:
    """Relies on the columns of `trial_values`, and on how its model writes infinities."""
    rows = []
    for objective, value in enumerate(values):
        kept, kind = models.TrialValueModel.value_to_stored_repr(value)
        rows.append({"trial_id": trial, "objective": objective, "value": kept, "value_type": kind})
    return rows


def _param_rows(trial: int, frozen: FrozenTrial) -> list[_Row]:
    """Relies on the columns of `trial_params`."""
    return [
        {
            "trial_id": trial,
            "param_name": name,
            "param_value": frozen.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(frozen.distributions[name]),
        }
        for name, value in frozen.params.items()
    ]


def _report_rows(trial: int, reports: Mapping[int, float]) -> list[_Row]:
    """Relies on the columns of `trial_intermediate_values`, and on how its model writes NaN and infinities."""
    rows = []
    for step, value in reports.items():
        kept, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        rows.append({"trial_id": trial, "step": step, "intermediate_value": kept, "intermediate_value_type": kind})
    return rows


def _rows(trial: int, attributes: Mapping[str, Any]) -> list[_Row]:
    """Relies on the columns of both tables of attributes."""
    return [{"trial_id": trial, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]
