"""`per: batch_size`: the sampler suggests a knob's value at a reference size, and training uses it in proportion.

The linear scaling rule of Goyal et al. 2017 (arXiv 1706.02677): when the batch grows k times, so should the learning
rate. A sampler that sees the learning rate per 128 images need not learn that rule from trials.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.problems import Path, Problems


@dataclass(frozen=True, slots=True)
class Per:
    """In proportion to `knob`; the numbers of the range are those at its value `reference`."""

    knob: str
    reference: int

    def scaled(self, suggested: float, values: Mapping[str, Value]) -> float:
        """What training uses where these are the other knobs' values."""
        return suggested * cast(int, values[self.knob]) / self.reference

    def unscaled(self, effective: float, values: Mapping[str, Value]) -> float:
        """What the sampler would have suggested: `scaled` turned round, to the last digit if there is such a number."""
        near = effective * self.reference / cast(int, values[self.knob])
        candidates = (near, math.nextafter(near, math.inf), math.nextafter(near, -math.inf))
        return next((number for number in candidates if self.scaled(number, values) == effective), near)

    def __str__(self) -> str:
        return f"per {self.reference} of {self.knob}"


def read_per(knob: Knob, raw: object, path: Path, vocabulary: Vocabulary, problems: Problems) -> Per | None:
    """Read `per: batch_size` (its default is the reference) or `per: {batch_size: 256}`.

    Only numbers without an upper bound can be in proportion to something: a share, a factor of decay or an angle that
    doubles means something else, or nothing.
    """
    if raw is None:
        return None
    if knob.kind is not Kind.FLOAT or knob.high < math.inf:
        why = "is a whole number" if knob.kind is Kind.INT else f"is {knob.rule.removeprefix('must be ')}"
        problems.add(path, f"is for numbers without an upper bound, such as lr; {knob.name} {why}", raw)
        return None
    if isinstance(raw, str):
        name, reference = raw, None
    elif isinstance(raw, dict) and len(raw) == 1:
        [(name, reference)] = raw.items()
        path = (*path, name)
    else:
        problems.add(path, "must be a knob such as batch_size, or {batch_size: 256} with the size to refer to", raw)
        return None
    scales = [other.name for other in vocabulary.knobs.values() if _can_scale(other)]
    if name not in vocabulary.knobs:
        problems.unknown_key((*path, name) if path[-1] != name else path, scales)
        return None
    other = vocabulary.knobs[name]
    if not _can_scale(other):
        problems.add(path, f"must name a whole number above zero: {enumerate_names(scales)}", raw)
        return None
    try:
        return Per(name, cast(int, other.parse(other.default if reference is None else reference)))
    except ValueError as error:
        problems.add(path, f"{name} {error}", reference)
        return None


def _can_scale(knob: Knob) -> bool:
    return knob.kind is Kind.INT and knob.low >= 1
