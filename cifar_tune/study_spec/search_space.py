"""One dimension of the search space: a range or choices, and the conditions under which it is searched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import cast

from cifar_tune.errors import nearest_name
from cifar_tune.knobs.knob import Kind, Knob, stored
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.per import Per, read_per
from cifar_tune.study_spec.prior import Prior, read_prior
from cifar_tune.study_spec.problems import Path, Problems

DIMENSION_KEYS = ("low", "high", "log", "step", "per", "choices", "when", "prior")
_EXAMPLE = "{low: 1e-4, high: 1.0, log: true} or {choices: [sgd, adamw]}"
_MAX_STEPS = 1_000_000  # more are no steps to speak of, and Optuna's decimal arithmetic gives up on many more

When = Mapping[str, tuple[Value, ...]]
"""For each knob, the values of which one must hold. All knobs together must hold."""


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values."""

    choices: tuple[Value, ...]
    when: When = field(default_factory=dict)
    prior: Prior | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """A number between `low` and `high`, both included; uniform in its logarithm if `log`.

    With `per`, this is the number that the sampler suggests, and what training uses is in proportion to another knob.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: When = field(default_factory=dict)
    per: Per | None = None
    prior: Prior | None = None

    @property
    def count(self) -> int | None:
        """How many values it holds; None without a step."""
        if self.step is None:
            return None
        return int((exact(self.high) - exact(self.low)) // exact(self.step)) + 1


Dimension = Choices | Range


def read_dimension(knob: Knob, raw: object, path: Path, vocabulary: Vocabulary, problems: Problems) -> Dimension | None:
    """Read what stands below a knob's name in `search_space`; None where nothing sensible stands there."""
    if not isinstance(raw, dict):
        problems.add(path, f"must be a mapping such as {_EXAMPLE}; a fixed value belongs under train", raw)
        return None
    for key in raw:
        if key not in DIMENSION_KEYS:
            problems.unknown_key((*path, key), DIMENSION_KEYS)
    when = _read_when(knob, raw.get("when"), (*path, "when"), vocabulary, problems)
    if "choices" in raw:
        for key in ("low", "high", "log", "step", "per"):
            if key in raw:
                problems.add((*path, key), "goes with low and high, not with choices")
        choices = _read_choices(knob, raw["choices"], (*path, "choices"), problems)
        prior = read_prior(knob, raw.get("prior"), (*path, "prior"), problems)
        if prior is not None and prior.value not in choices:
            problems.add((*path, "prior", "value"), "must be one of the choices", stored(prior.value))
        return Choices(choices, when, prior) if choices else None
    if knob.kind not in (Kind.FLOAT, Kind.INT):
        problems.add(path, f"needs choices: {knob.name} {knob.rule}")
        return None
    return _read_range(knob, raw, path, when, vocabulary, problems)


def condition_holds(knob: str, wanted: tuple[Value, ...], value: Value | None) -> bool:
    """Whether `value` is one of `wanted`; a list of names also where it contains one of them."""
    if isinstance(value, tuple):
        return value in wanted or any(name in wanted for name in value)
    return value is not None and value in wanted


def _read_choices(knob: Knob, raw: object, path: Path, problems: Problems) -> tuple[Value, ...]:
    if not isinstance(raw, list) or not raw:
        problems.add(path, "must be a list of at least one value", raw)
        return ()
    choices: dict[Value, None] = {}
    for index, item in enumerate(raw):
        value = read_value(knob, item, (*path, index), problems)
        if value is None:
            continue
        if value in choices:
            problems.add((*path, index), "is listed twice", item)
        choices[value] = None
    return tuple(choices)


def read_value(knob: Knob, raw: object, path: Path, problems: Problems) -> Value | None:
    """Parse one value of a knob; None, and a problem, where it breaks the knob's rule."""
    try:
        return knob.parse(raw)
    except ValueError as error:
        rule = f"is empty; {error}" if raw is None else str(error)
        if knob.kind in (Kind.FLOAT, Kind.INT) and isinstance(raw, str) and _is_number(raw):
            rule += "; remove the quotes"
        problems.add(path, rule, raw, _nearest(knob, raw))
        return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _nearest(knob: Knob, raw: object) -> str | None:
    """What the first wrong name in `raw` was most likely meant to be."""
    given = raw.split("+") if isinstance(raw, str) else raw if isinstance(raw, list) else []
    known = knob.names or {}
    wrong = (name for name in given if isinstance(name, str) and name not in known)
    return next((nearest_name(name, known) for name in wrong), None)


def _read_range(
    knob: Knob, raw: Mapping[str, object], path: Path, when: When, vocabulary: Vocabulary, problems: Problems
) -> Range | None:
    before = problems.count
    missing = [key for key in ("low", "high") if key not in raw]
    if missing:
        problems.add(path, f"needs {' and '.join(missing)}, or choices")
    low, high = (
        cast("float | None", read_value(knob, raw[key], (*path, key), problems)) if key in raw else None
        for key in ("low", "high")
    )
    log = raw.get("log", False)
    if not isinstance(log, bool):
        problems.add((*path, "log"), "must be true or false", log)
    step = _read_step(knob, raw.get("step"), (*path, "step"), problems)
    per = read_per(knob, raw.get("per"), (*path, "per"), vocabulary, problems)
    prior = read_prior(knob, raw.get("prior"), (*path, "prior"), problems)
    if low is not None and high is not None and low >= high:
        problems.add((*path, "low"), f"must be below high, which is {high}; a single value belongs under train", low)
    if low is not None and log is True and low <= 0:
        problems.add((*path, "low"), "must be > 0 on a logarithmic range", low)
    if log is True and step is not None:
        problems.add((*path, "step"), "does not go with log: true", step)
    if low is None or high is None or not isinstance(log, bool):
        return None
    if problems.count == before and step is not None:
        _check_step(knob, low, high, step, (*path, "step"), problems)
    if problems.count == before and prior is not None and not low <= cast("float", prior.value) <= high:
        problems.add((*path, "prior", "value"), f"must be between low and high, {low} and {high}", prior.value)
    if problems.count > before:
        return None
    return Range(low, high, log, 1 if step is None and knob.kind is Kind.INT else step, when, per, prior)


def _check_step(knob: Knob, low: float, high: float, step: float, path: Path, problems: Problems) -> None:
    remainder = (exact(high) - exact(low)) % exact(step)
    if remainder:
        last = knob.parse(float(exact(high) - remainder))
        problems.add(path, f"does not lead from {low} to {high}; the last step below is {last}", step)
    if (Range(low, high, step=step).count or 0) > _MAX_STEPS and (knob.kind is not Kind.INT or step != 1):
        rule = f"makes more than {_MAX_STEPS:,} values; take a larger one, or leave it out"
        problems.add(path, rule, step)


def exact(number: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return Fraction(str(number))


def _read_step(knob: Knob, raw: object, path: Path, problems: Problems) -> float | None:
    if raw is None:
        return None
    whole = knob.kind is Kind.INT
    rule = Knob("step", knob.kind, 1, "", low=1 if whole else 0, low_open=not whole)
    return cast("float | None", read_value(rule, raw, path, problems))


def _read_when(knob: Knob, raw: object, path: Path, vocabulary: Vocabulary, problems: Problems) -> When:
    if raw is None:
        return {}
    if not isinstance(raw, dict) or not raw:
        problems.add(path, "must be a mapping such as {optimizer: [sgd, rmsprop]}", raw)
        return {}
    when: dict[str, tuple[Value, ...]] = {}
    for name, wanted in raw.items():
        if name not in vocabulary.knobs:
            problems.unknown_key((*path, name), vocabulary.knobs)
        elif name == knob.name:
            problems.add((*path, name), f"{name} cannot depend on itself")
        else:
            when[name] = _read_wanted(vocabulary.knobs[name], wanted, (*path, name), problems)
    return when


def _read_wanted(knob: Knob, raw: object, path: Path, problems: Problems) -> tuple[Value, ...]:
    if not isinstance(raw, list):
        value = _read_one(knob, raw, path, problems)
        return () if value is None else (value,)
    if not raw:
        problems.add(path, "must name at least one value", raw)
    values = [_read_one(knob, item, (*path, index), problems) for index, item in enumerate(raw)]
    return tuple(value for value in values if value is not None)


def _read_one(knob: Knob, raw: object, path: Path, problems: Problems) -> Value | None:
    value = read_value(knob, raw, path, problems)
    # `when: {augment: random_crop}` means every list with random_crop in it
    return value[0] if isinstance(value, tuple) and isinstance(raw, str) and len(value) == 1 else value
