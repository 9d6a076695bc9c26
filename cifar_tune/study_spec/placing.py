"""From a value that training uses to the number or choice that the sampler would have suggested for it."""

import math
from collections.abc import Mapping
from typing import cast

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.part import Value
from cifar_tune.study_spec.search_space import Choices, Dimension, Range, exact

_ROUNDING = 1e-12
"""Relative: what going from a suggested number to one in proportion, and back, may lose."""
_STEP_SHARE = 1e-8
"""How far from a step, as a share of it, Optuna still takes a number for that step."""


class OutsideError(ValueError):
    """A value that the search space does not hold; the message is the rule that it breaks."""


def placed(dimension: Dimension, value: Value, values: Mapping[str, Value]) -> Value:
    """What a sampler would have suggested, where training uses `value` beside `values`.

    A number that misses an end of its range or a step by a rounding error alone is put there.

    Raises:
        OutsideError: if the dimension does not hold the value.
    """
    if isinstance(dimension, Choices):
        if value in dimension.choices:
            return value
        raise OutsideError(f"must be {enumerate_names([str(stored(choice)) for choice in dimension.choices])}")
    number = cast(float, value)
    remark = ""
    if dimension.per is not None:
        number = dimension.per.unscaled(number, values)
        remark = f", and it is {number:.6g} {dimension.per}"
    for end in (dimension.low, dimension.high):
        if math.isclose(number, end, rel_tol=_ROUNDING):
            number = end
    if not dimension.low <= number <= dimension.high:
        raise OutsideError(f"must be between {dimension.low} and {dimension.high}{remark}")
    return number if dimension.step is None else _on_step(dimension, number, dimension.step, remark)


def off_step(dimension: Range, number: float) -> bool:
    """Whether a number between the ends of a range misses its steps."""
    if dimension.step is None:
        return False
    steps = (exact(number) - exact(dimension.low)) / exact(dimension.step)
    return abs(steps - round(steps)) > _STEP_SHARE


def _on_step(dimension: Range, number: float, step: float, remark: str) -> float:
    steps = (exact(number) - exact(dimension.low)) / exact(step)
    if off_step(dimension, number):
        raise OutsideError(f"must be {dimension.low} or a whole number of steps of {step} above{remark}")
    nearest = exact(dimension.low) + round(steps) * exact(step)
    return int(nearest) if isinstance(number, int) else float(nearest)
