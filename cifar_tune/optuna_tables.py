"""The tables in which Optuna keeps studies: which columns they have, and how trials are read from them in bulk.

Optuna may change them with any release; like everything in `optuna_internals`, they are used through these names alone,
and `tests/test_optuna_contract.py` tries them on the Optuna that is installed.
"""

import json
import math
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.exceptions import StorageInternalError
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Connection, String, Table, bindparam, case, select, type_coerce
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from cifar_tune.errors import DamagedError
from cifar_tune.wording import first_line

_OTHER_LETTERS = 1267
"""The code with which MySQL refuses to compare a text with a column that cannot hold its letters."""


def cannot_be_there(error: DBAPIError) -> bool:
    """Whether a text was looked for that has letters which the tables cannot hold, so that they do not hold it.

    Relies on nothing of Optuna.
    """
    return getattr(error.orig, "args", ())[:1] == (_OTHER_LETTERS,)


STUDIES: Table = models.StudyModel.__table__
"""Has the columns study_id and study_name."""

TRIALS: Table = models.TrialModel.__table__
"""Has the columns trial_id, study_id, number, state, and datetime_start and datetime_complete in UTC."""

VALUES: Table = models.TrialValueModel.__table__
"""Has the columns trial_id, objective, value, and value_type, which is FINITE or a key of NOT_FINITE."""

PARAMS: Table = models.TrialParamModel.__table__
"""Has the columns param_id, by which parameters are in order, trial_id, param_name, param_value, distribution_json."""

REPORTS: Table = models.TrialIntermediateValueModel.__table__
"""Has the columns trial_id, step, intermediate_value and intermediate_value_type, which is like value_type."""

USER_ATTRIBUTES: Table = models.TrialUserAttributeModel.__table__
"""Has the columns trial_id, key and value_json."""

SYSTEM_ATTRIBUTES: Table = models.TrialSystemAttributeModel.__table__
"""Has the columns trial_id, key and value_json."""

DIRECTIONS: Table = models.StudyDirectionModel.__table__
"""The directions of studies: study_id, objective, direction."""

STUDY_USER_ATTRIBUTES: Table = models.StudyUserAttributeModel.__table__
"""Has the columns study_id, key and value_json."""

STUDY_SYSTEM_ATTRIBUTES: Table = models.StudySystemAttributeModel.__table__
"""Has the columns study_id, key and value_json."""

FINITE = "FINITE"
"""What value_type says of all other numbers than these."""

NOT_FINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
"""What value_type says of a value that is no finite number."""

_AT_ONCE = 400
"""Trials whose parts are read in one query each, which may name each trial twice; older SQLite takes 999 parameters."""

_SHORT = 64
"""Characters of JSON up to which equal texts are decoded once."""


class SenselessError(ValueError):
    """What is stored of a study or a trial makes no sense; the message is what, and begins with `it` or `its`.

    Relies on nothing of Optuna.
    """


CHANGED = "the database holds what makes no sense, so a disk, a copy or another program has changed it"

_UNDECODABLE = "Could not decode to UTF-8"
"""What SQLite says of text that is none; other databases take no such text."""


def damage(study: str, what: str) -> DamagedError:
    """The sentence on a damaged study; `what` begins with `it` or `its`, or with a trial's number and a colon.

    Relies on nothing of Optuna.
    """
    return DamagedError(
        f"{CHANGED}: in the study {study!r}, {what}. Nothing was changed. Go on with a copy of the database from "
        f"before, or remove the study: cifar-tune delete {shlex.quote(study)}"
    )


@contextmanager
def naming_damage(study: str | Callable[[], str]) -> Iterator[None]:
    """A block that reads a study: what makes no sense is raised with the name of the study.

    Relies on Optuna raising StorageInternalError from what SQLAlchemy has raised.

    Args:
        study: its name, or what finds it out where it is needed.

    Raises:
        DamagedError: in place of SenselessError, and of text that cannot be decoded.
    """
    try:
        yield
    except SenselessError as error:
        raise damage(study if isinstance(study, str) else study(), str(error)) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        words = undecodable(error)
        if words is None:
            raise
        raise damage(study if isinstance(study, str) else study(), words) from error


def undecodable(error: BaseException) -> str | None:
    """What is wrong with text that the database could not decode; None if that is not what went wrong.

    Relies on the same.
    """
    for each in (error, error.__cause__):
        words = str(getattr(each, "orig", None))
        if words.startswith(_UNDECODABLE):
            return words[0].lower() + words[1:].splitlines()[0]
    return None


_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
"""What decoding rows raises where something else is stored than Optuna stores."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is read of trials; all of it, unless something is said. Relies on nothing of Optuna.

    Attributes:
        times: when they began and ended.
        params: parameters and their distributions.
        reports: what was reported after each epoch.
        user: user attributes with these keys; None for all.
        bare: user attributes of which it is enough to know whether they are there: their value is None.
        left_out: of trials that ended long ago, the user attribute of this name is left out, and so are those whose
            names begin with it and an underscore.
        long_ago: in local time; what ended before this did so long ago.
    """

    times: bool = True
    params: bool = True
    reports: bool = True
    user: Collection[str] | None = None
    bare: Collection[str] = ()
    left_out: str | None = None
    long_ago: datetime = datetime.min

    def is_old(self, trial: FrozenTrial) -> bool:
        """Whether the trial ended long ago."""
        return trial.state.is_finished() and (trial.datetime_complete or datetime.max) < self.long_ago


ALL_PARTS = Parts()


class Decoded:
    """Texts of the database as objects: equal ones become the same. Relies on `json_to_distribution`.

    Only what cannot be changed is shared, and the keys of mappings.
    """

    def __init__(self) -> None:
        self._distributions: dict[str, BaseDistribution] = {}
        self._short: dict[str, object] = {}
        self._decode = json.JSONDecoder(object_pairs_hook=_with_shared_names).decode

    def distribution(self, text: str) -> BaseDistribution:
        """What `distribution_to_json` made the text of."""
        found = self._distributions.get(text)
        if found is None:
            found = self._distributions[text] = json_to_distribution(text)
        return found

    def parameter(self, name: str, value: float, text: str) -> tuple[object, BaseDistribution]:
        """The value of a parameter, and its distribution.

        Raises:
            SenselessError: naming it.
        """
        try:
            distribution = self.distribution(text)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise SenselessError(f"its parameter {name!r} is {value!r}, which is no number")
            return distribution.to_external_repr(value), distribution
        except SenselessError:
            raise
        except _UNREADABLE as error:
            raise SenselessError(f"its parameter {name!r} cannot be read: {first_line(error)}") from error

    def attribute(self, name: str, text: str) -> object:
        """The value that JSON stands for.

        Raises:
            SenselessError: naming the attribute.
        """
        found = self._short.get(text)
        if found is None:
            try:
                found = self._decode(text)
            except _UNREADABLE as error:
                raise SenselessError(f"its attribute {name!r} is no JSON: {first_line(error)}") from error
            if len(text) <= _SHORT and isinstance(found, str | int):
                self._short[text] = found
        return found


def _with_shared_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A mapping whose keys and texts are those of other mappings too. Relies on nothing of Optuna."""
    return {sys.intern(key): sys.intern(each) if type(each) is str else each for key, each in pairs}


def read_trials(
    session: Session,
    study: int,
    decoded: Decoded,
    states: Container[TrialState] | None = None,
    only: tuple[Collection[int], int | None] | None = None,
    parts: Parts = ALL_PARTS,
) -> list[FrozenTrial]:
    """The trials of a study, in the order in which they arrived.

    Optuna makes an object of each row, of which a trial with 30 epochs has about 60. Here rows stay tuples, and equal
    texts and distributions become the same objects: an eighth of the time. Relies on the tables above.

    Args:
        session: a transaction.
        study: its id.
        decoded: what was decoded so far.
        states: in which the trials are; None for all.
        only: ids of trials, and the id above which all others are read too, None for none of them; None for all.
        parts: what is read of them.

    Raises:
        SenselessError: what is stored of a trial makes no sense.
        SQLAlchemyError: the database failed.
    """
    wanted: ColumnElement[bool] = TRIALS.c.study_id == study
    included, above = only or ((), -1)
    if len(included) <= _AT_ONCE:
        is_included = TRIALS.c.trial_id.in_(included)
        wanted &= is_included if above is None else is_included | (TRIALS.c.trial_id > above)
    if states is not None:
        wanted &= TRIALS.c.state.in_([state for state in TrialState if state in states])
    columns = _TRIAL_COLUMNS[: None if parts.times else 3]
    try:
        rows = session.execute(select(*columns).where(wanted).order_by(TRIALS.c.trial_id)).all()
        trials = {
            row[0]: _bare_trial(*row) for row in rows if row[0] in included or (above is not None and row[0] > above)
        }
    except SenselessError:
        raise
    except _UNREADABLE as error:
        raise SenselessError(f"it cannot be read: {first_line(error)}") from error
    for start in range(0, len(trials), _AT_ONCE):
        some = dict(islice(trials.items(), start, start + _AT_ONCE))
        _read_values(session, some)
        if parts.params:
            _read_params(session, some, decoded)
        if parts.reports:
            _read_reports(session, some)
        _read_attributes(session, some, decoded, parts)
    return list(trials.values())


_STATES = frozenset(TrialState)
_TRIAL_COLUMNS = (
    TRIALS.c.trial_id, TRIALS.c.number, TRIALS.c.state, TRIALS.c.datetime_start, TRIALS.c.datetime_complete,
)  # fmt: skip


def _bare_trial(
    trial_id: int, number: int, state: TrialState, started: datetime | None = None, ended: datetime | None = None
) -> FrozenTrial:
    """A trial without its parts. Relies on the constructor of `FrozenTrial`."""
    if type(number) is not int or number < 0:
        raise SenselessError(f"its number is {number!r}")
    if state not in _STATES:
        raise SenselessError(f"its state is {state!r}")
    return FrozenTrial(
        number=number, state=state, value=None, datetime_start=as_local(started), datetime_complete=as_local(ended),
        params={}, distributions={}, user_attrs={}, system_attrs={}, intermediate_values={}, trial_id=trial_id,
    )  # fmt: skip


def as_local(stored: datetime | None) -> datetime | None:
    """A time of the database as Optuna gives it.

    Relies on times being stored in UTC, and given in local time, both without a zone.
    """
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def _read_values(session: Session, trials: Mapping[int, FrozenTrial]) -> None:
    """Relies on `trial_values`."""
    values: dict[int, list[float]] = defaultdict(list)
    columns = (VALUES.c.value, type_coerce(VALUES.c.value_type, String))
    for each, value, kind in part_rows(session, VALUES, trials, columns, VALUES.c.objective):
        values[each].append(_number_of(value, kind))
    for each, found in values.items():
        trials[each].values = found


def _read_params(session: Session, trials: Mapping[int, FrozenTrial], decoded: Decoded) -> None:
    """Relies on `trial_params`."""
    columns = (PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json)
    for each, name, value, text in part_rows(session, PARAMS, trials, columns, PARAMS.c.param_id):
        trial = trials[each]
        trial.params[name], trial.distributions[name] = decoded.parameter(name, value, text)


def _read_reports(session: Session, trials: Mapping[int, FrozenTrial]) -> None:
    """Relies on `trial_intermediate_values`."""
    columns = (REPORTS.c.step, REPORTS.c.intermediate_value, type_coerce(REPORTS.c.intermediate_value_type, String))
    for each, step, value, kind in part_rows(session, REPORTS, trials, columns, REPORTS.c.step):
        trials[each].intermediate_values[step] = _number_of(value, kind)


def _number_of(value: float, kind: str) -> float:
    """A value as it was stored. Relies on its kind being FINITE or a key of NOT_FINITE."""
    if kind == FINITE and type(value) in (int, float):
        return value
    if kind not in NOT_FINITE:
        raise SenselessError(f"a value of it is {value!r} ({kind!r}), which is no number")
    return NOT_FINITE[kind]


def _read_attributes(session: Session, trials: Mapping[int, FrozenTrial], decoded: Decoded, parts: Parts) -> None:
    """Relies on the tables of both kinds of attributes."""
    key, value = USER_ATTRIBUTES.c.key, USER_ATTRIBUTES.c.value_json
    columns = (key, case((key.in_(parts.bare), "null"), else_=value) if parts.bare else value)
    where: list[ColumnElement[bool]] = [] if parts.user is None else [key.in_(parts.user)]
    if parts.left_out is not None:
        is_named = (key == parts.left_out) | key.startswith(f"{parts.left_out}_", autoescape=True)
        old = [each for each, trial in trials.items() if parts.is_old(trial)]
        where.append(~(USER_ATTRIBUTES.c.trial_id.in_(old) & is_named))
    order = USER_ATTRIBUTES.c.trial_user_attribute_id
    for each, name, text in part_rows(session, USER_ATTRIBUTES, trials, columns, order, *where):
        trials[each].user_attrs[key_of(name)] = decoded.attribute(name, text)
    columns = (SYSTEM_ATTRIBUTES.c.key, SYSTEM_ATTRIBUTES.c.value_json)
    order = SYSTEM_ATTRIBUTES.c.trial_system_attribute_id
    for each, name, text in part_rows(session, SYSTEM_ATTRIBUTES, trials, columns, order):
        trials[each].system_attrs[key_of(name)] = decoded.attribute(name, text)


def key_of(name: str) -> str:
    """The name of an attribute. Relies on nothing of Optuna."""
    if type(name) is not str:
        raise SenselessError(f"an attribute of it has the name {name!r}")
    return sys.intern(name)


def part_rows(
    session: Session | Connection, table: Table, trials: Collection[int], columns: Sequence[ColumnElement[Any]],
    order: ColumnElement[Any], *where: ColumnElement[bool],
) -> Sequence[Any]:  # fmt: skip
    """Rows of one of the tables: the trial's id, and these columns. Relies on its column trial_id.

    Args:
        session: a transaction.
        table: VALUES, PARAMS, REPORTS or one of attributes.
        trials: ids of trials, at most a few hundred.
        columns: of the table.
        order: a column of the table.
        where: which rows of these trials.
    """
    of_trials = table.c.trial_id.in_(bindparam("trials", expanding=True))
    wanted = select(table.c.trial_id, *columns).where(of_trials, *where)
    return session.execute(wanted.order_by(order), {"trials": list(trials)}).all()


def trial_rows(connection: Connection, study: int) -> Sequence[Any]:
    """Of each trial of a study, by number: id, number, state, and when it began and ended. Relies on `trials`."""
    wanted = select(*_TRIAL_COLUMNS).where(TRIALS.c.study_id == study)
    return connection.execute(wanted.order_by(TRIALS.c.number)).all()
