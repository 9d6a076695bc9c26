"""Trials as optuna-dashboard writes them in JSON, made from the rows of the database.

optuna-dashboard makes an object of each trial, dictionaries of the object, and text of the dictionaries. Without these
steps, the text of many trials takes a fraction of the time. `study_detail` compares it with what optuna-dashboard
writes itself.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy import Connection, String, type_coerce

from cifar_tune.dashboard.made_files import artifacts_with
from cifar_tune.optuna_internals import ARTIFACT, CONSTRAINTS_OF_OPTUNA_4, ENQUEUED
from cifar_tune.optuna_tables import (
    FINITE,
    NOT_FINITE,
    PARAMS,
    REPORTS,
    SYSTEM_ATTRIBUTES,
    USER_ATTRIBUTES,
    VALUES,
    Decoded,
    as_local,
    part_rows,
)

Row = tuple[int, int, TrialState, datetime | None, datetime | None]
"""See `trial_rows`."""

_LONGEST = 1024
"""Characters that are shown of a mapping or a list."""

_NUMBERS = frozenset("-0123456789NI")
"""With which numbers begin in JSON; NaN and Infinity too."""

_EMPTY = frozenset(('""', "0", "0.0", "-0.0", "[]", "{}", "null", "false"))
_encoded = json.JSONEncoder().encode
_NOT_FINITE = {kind: f'"{value}"' for kind, value in NOT_FINITE.items()}


@dataclass(frozen=True, slots=True)
class Kind:
    """What trials have in common that look the same to a summary of the study.

    Attributes:
        state: in which they are.
        has_reports: whether anything was reported.
        params: names and distributions, in JSON.
        user: names of user attributes, and whether each is a number.
    """

    state: TrialState
    has_reports: bool
    params: frozenset[tuple[str, str]]
    user: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class TrialText:
    """A finished trial.

    Attributes:
        id: in the storage.
        number: in the study.
        kind: of what kind it is.
        values: of the objectives, if it has any.
        text: JSON; None where it has something that is written by optuna-dashboard alone.
    """

    id: int
    number: int
    kind: Kind
    values: Sequence[float]
    text: bytes | None


class TrialTexts:
    """Writes the trials of one study.

    Args:
        study: its id.
        has_files: whether the files are shown that are made for each trial.
    """

    def __init__(self, study: int, has_files: bool) -> None:
        self._study = study
        self._has_files = has_files
        self._decoded = Decoded()
        self._names: dict[str, str] = {}
        self._around: dict[tuple[str, str], tuple[str, str]] = {}
        self._chosen: dict[tuple[str, str, float], str] = {}

    def read(self, connection: Connection, rows: Sequence[Row]) -> Iterator[TrialText]:
        """The texts of some hundred finished trials.

        Raises:
            ValueError: what is stored makes no sense.
            SQLAlchemyError: the database failed.
        """
        ids = [row[0] for row in rows]
        params, user = self._params(connection, ids), self._user(connection, ids)
        reports, values, system = _reports(connection, ids), _values(connection, ids), _system(connection, ids)
        for id_, number, state, started, ended in rows:
            kind = Kind(
                state=state,
                has_reports=id_ in reports,
                params=frozenset(each[:2] for each in params[id_]),
                user=tuple((name, text[0] in _NUMBERS) for name, text in user[id_]),
            )
            own = system.get(id_, {})
            is_plain = not any(key == ENQUEUED or key.startswith(ARTIFACT) for key in own)
            text = "".join((
                f'{{"trial_id": {id_}, "study_id": {self._study}, "number": {number}, ',
                f'"state": "{state.name.capitalize()}", "params": [{", ".join(each[2] for each in params[id_])}], ',
                f'"fixed_params": [], "user_attrs": [{", ".join(self._attribute(*each) for each in user[id_])}], ',
                f'"note": {{"version": 0, "body": ""}}, "artifacts": {self._files(id_, user[id_])}, ',
                f'"constraints": {own.get(CONSTRAINTS_OF_OPTUNA_4, "[]")}, ',
                f'"intermediate_values": [{", ".join(reports.get(id_, ()))}]',
                f', "values": [{", ".join(map(_value, values[id_]))}]' if values[id_] else "",
                _time("datetime_start", started), _time("datetime_complete", ended), "}",
            ))  # fmt: skip
            finite = [NOT_FINITE.get(each, value) for value, each in values[id_]]
            yield TrialText(id_, number, kind, finite, text.encode() if is_plain else None)

    def _params(self, connection: Connection, ids: Sequence[int]) -> Mapping[int, list[tuple[str, str, str]]]:
        """Of each trial: name, distribution, and the text of both with the value."""
        found: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
        columns = (PARAMS.c.param_name, PARAMS.c.param_value, PARAMS.c.distribution_json)
        for trial, name, value, described in part_rows(connection, PARAMS, ids, columns, PARAMS.c.param_id):
            found[trial].append((name, described, self._param(name, described, value)))
        return found

    def _param(self, name: str, described: str, value: float) -> str:
        known = self._chosen.get((name, described, value))
        if known is not None:
            return known
        distribution = self._decoded.distribution(described)
        if (name, described) not in self._around:
            around = f'{{"name": {json.dumps(name)}, "param_internal_value": ', f"{_distribution(distribution)}}}"
            self._around[name, described] = around
        before, after = self._around[name, described]
        shown = distribution.to_external_repr(value)
        text = (
            f'{before}{distribution.to_internal_repr(shown)}, "param_external_value": {_encoded(str(shown))}, '
            f'"param_external_pytyp": "{type(shown)}", "distribution": {after}'
        )
        if not isinstance(distribution, FloatDistribution):  # there are few values
            self._chosen[name, described, value] = text
        return text

    def _user(self, connection: Connection, ids: Sequence[int]) -> Mapping[int, list[tuple[str, str]]]:
        """Of each trial: names of user attributes, and their JSON."""
        found: dict[int, list[tuple[str, str]]] = defaultdict(list)
        columns = (USER_ATTRIBUTES.c.key, USER_ATTRIBUTES.c.value_json)
        order = USER_ATTRIBUTES.c.trial_user_attribute_id
        for trial, name, text in part_rows(connection, USER_ATTRIBUTES, ids, columns, order):
            found[trial].append((name, text))
        return found

    def _attribute(self, name: str, text: str) -> str:
        before = self._names.get(name)
        if before is None:
            before = self._names[name] = f'{{"key": {json.dumps(name)}, "value": '
        first = text[0]
        if first == '"':
            return f"{before}{text}}}"
        if text.isdecimal():
            return f'{before}"{text}"}}'
        if first in _NUMBERS or first in "tf":
            return f'{before}"{json.loads(text)}"}}'
        return f"{before}{_encoded(text[:_LONGEST])}}}"

    def _files(self, trial: int, user: Sequence[tuple[str, str]]) -> str:
        if not self._has_files:
            return "[]"
        there = {name for name, text in user if text not in _EMPTY}
        return _encoded([meta for _, meta in artifacts_with(trial, there)])


def _distribution(distribution: BaseDistribution) -> str:
    match distribution:
        case FloatDistribution() | IntDistribution():
            range_ = {name: getattr(distribution, name) for name in ("low", "high", "step", "log")}
            return json.dumps({"type": type(distribution).__name__, **range_})
        case CategoricalDistribution():
            choices = [{"pytype": str(type(choice)), "value": str(choice)} for choice in distribution.choices]
            return json.dumps({"type": "CategoricalDistribution", "choices": choices})
    raise ValueError(f"{distribution} is of no kind that is known")


def _reports(connection: Connection, ids: Sequence[int]) -> Mapping[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    columns = (REPORTS.c.step, REPORTS.c.intermediate_value, type_coerce(REPORTS.c.intermediate_value_type, String))
    for trial, step, value, kind in part_rows(connection, REPORTS, ids, columns, REPORTS.c.step):
        shown = value if kind == FINITE else _NOT_FINITE[kind]
        found[trial].append(f'{{"step": {step}, "value": {shown}}}')
    return found


def _values(connection: Connection, ids: Sequence[int]) -> Mapping[int, list[tuple[float, str]]]:
    found: dict[int, list[tuple[float, str]]] = defaultdict(list)
    columns = (VALUES.c.value, type_coerce(VALUES.c.value_type, String))
    for trial, value, kind in part_rows(connection, VALUES, ids, columns, VALUES.c.objective):
        found[trial].append((value, kind))
    return found


def _value(stored: tuple[float, str]) -> str:
    value, kind = stored
    return f"{value}" if kind == FINITE else _NOT_FINITE[kind]


def _system(connection: Connection, ids: Sequence[int]) -> Mapping[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = defaultdict(dict)
    columns = (SYSTEM_ATTRIBUTES.c.key, SYSTEM_ATTRIBUTES.c.value_json)
    order = SYSTEM_ATTRIBUTES.c.trial_system_attribute_id
    for trial, name, text in part_rows(connection, SYSTEM_ATTRIBUTES, ids, columns, order):
        found[trial][name] = text
    return found


def _time(name: str, stored: datetime | None) -> str:
    local: Any = as_local(stored)
    return "" if local is None else f', "{name}": "{local.isoformat()}"'
