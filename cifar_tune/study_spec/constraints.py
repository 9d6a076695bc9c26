"""The `constraints` of a study file: bounds on metrics, such as `parameters <= 300000`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cifar_tune.errors import nearest_name
from cifar_tune.study_spec.metrics import METRICS, Metric
from cifar_tune.study_spec.problems import Path, Problems

_PARTS = re.compile(r"\s*([^\s<>=≤≥]+)\s*([<>=≤≥]+)\s*([^\s<>=≤≥]+)\s*")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_MEANT = {"<": "<=", ">": ">=", "=<": "<=", "=>": ">=", "≤": "<=", "≥": ">="}
_FLIPPED = {"<=": ">=", ">=": "<="}
_EXAMPLE = "parameters <= 300000"

UNKNOWN = 1.0
"""Violation of a constraint whose metric a trial never showed: as much as that of an accuracy of 0."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A metric that must be at most, or at least, `limit`."""

    metric: str
    sense: str
    limit: float

    def __str__(self) -> str:
        limit = int(self.limit) if self.limit.is_integer() and abs(self.limit) < 1e15 else self.limit
        return f"{self.metric} {self.sense} {limit}"

    @property
    def is_known_before_training(self) -> bool:
        """Whether the model alone decides."""
        return self.metric in METRICS and METRICS[self.metric].is_known_before_training

    def violation(self, value: float) -> float:
        """By how much a value breaks it, as a share of the limit; 0 or less if it keeps it.

        Samplers add up the violations of a trial, and 50,000 parameters must not drown a tenth of accuracy.
        """
        beyond = value - self.limit if self.sense == "<=" else self.limit - value
        return beyond / abs(self.limit) if self.limit else beyond


def violations(constraints: Sequence[Constraint], figures: Mapping[str, float]) -> dict[str, float]:
    """The violation of each constraint, by its text; those of metrics that `figures` lacks are UNKNOWN."""
    return {
        str(constraint): constraint.violation(figures[constraint.metric]) if constraint.metric in figures else UNKNOWN
        for constraint in constraints
    }


def read_constraints(
    raw: object, problems: Problems, metrics: Mapping[str, Metric] = METRICS
) -> tuple[Constraint, ...]:
    """Read `constraints`: a list of texts `METRIC <= NUMBER` or `METRIC >= NUMBER`, with `metrics` to choose from."""
    path: Path = ("constraints",)
    if raw is None:
        return ()
    if not isinstance(raw, list):
        problems.add(path, f"must be a list such as [{_EXAMPLE}, val_accuracy >= 0.6]", raw)
        return ()
    found: list[Constraint] = []
    for index, text in enumerate(raw):
        constraint = _read_one(text, (*path, index), problems, metrics)
        if constraint is not None:
            _check_against(constraint, found, text, (*path, index), problems)
            found.append(constraint)
    return tuple(found)


def _read_one(raw: object, path: Path, problems: Problems, metrics: Mapping[str, Metric]) -> Constraint | None:
    parts = _PARTS.fullmatch(raw) if isinstance(raw, str) else None
    if parts is None:
        problems.add(path, f"must be a metric, <= or >=, and a number, such as {_EXAMPLE}", raw)
        return None
    name, sense, number = parts.groups()
    sense_meant = _MEANT.get(sense, sense)
    if sense_meant not in _FLIPPED:
        problems.add(path, "must compare by <= or >=", raw, f"{name} <= {number}")
    elif _NUMBER.fullmatch(name) and number in metrics:
        problems.add(path, "the metric comes first", raw, f"{number} {_FLIPPED[sense_meant]} {name}")
    elif name not in metrics:
        meant = nearest_name(name, metrics)
        rule = f"{name} is no metric" if meant else f"{name} is no metric; metrics: {', '.join(metrics)}"
        problems.add(path, rule, raw, f"{meant} {sense_meant} {number}" if meant else None)
    elif not _NUMBER.fullmatch(number) or not math.isfinite(float(number)):
        problems.add(path, f"{number} is no number", raw)
    elif sense != sense_meant:
        problems.add(path, "must compare by <= or >=", raw, f"{name} {sense_meant} {number}")
    else:
        return _in_bounds(Constraint(name, sense, float(number)), metrics[name], raw, path, problems)
    return None


def _in_bounds(
    constraint: Constraint, metric: Metric, raw: object, path: Path, problems: Problems
) -> Constraint | None:
    lowest, highest = metric.lowest, metric.highest
    if lowest <= constraint.limit <= highest:
        return constraint
    if highest == math.inf:
        problems.add(path, f"{constraint.metric} is never below {lowest:g}", raw)
    elif (lowest, highest) != (0, 1):
        problems.add(path, f"{constraint.metric} is from {lowest:g} to {highest:g}", raw)
    else:
        percent = Constraint(constraint.metric, constraint.sense, constraint.limit / 100)
        problems.add(
            path,
            f"{constraint.metric} is a fraction from 0 to {highest:g}",
            raw,
            str(percent) if 1 < constraint.limit <= 100 else None,
        )
    return None


def _check_against(
    constraint: Constraint, others: Sequence[Constraint], raw: object, path: Path, problems: Problems
) -> None:
    for other in others:
        if other.metric != constraint.metric:
            continue
        if other.sense == constraint.sense:
            problems.add(path, f"there is one of the same kind already: {other}", raw)
        elif (constraint.limit - other.limit) * (1 if constraint.sense == "<=" else -1) < 0:
            problems.add(path, f"no value keeps this and {other}", raw)
