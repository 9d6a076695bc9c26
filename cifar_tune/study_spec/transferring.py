"""Turns the best configurations of an earlier study into known configurations of a new search space.

The earlier study gives whole configurations, with every knob. Of these, only the knobs that the new study searches
count. A number outside of the new range goes to its nearer end, and one between two steps to the nearer step. A choice
that the new study does not have is left to the sampler.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.configuration import as_it_ran
from cifar_tune.knobs.knob import Kind, Knob, stored
from cifar_tune.knobs.part import Scalar, Value
from cifar_tune.knobs.rules import broken_rules
from cifar_tune.study_spec.partial import partial_configuration
from cifar_tune.study_spec.placing import OutsideError, placed
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_space import Choices, Range, exact
from cifar_tune.study_spec.space import Space
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.start_from import KnownConfiguration
from cifar_tune.wording import figure


@dataclass(frozen=True, slots=True)
class Source:
    """A configuration of the earlier study.

    Attributes:
        trial: its number there.
        value: its first objective there; of a configuration that was trained several times, the mean.
        config: every knob of it, as the database holds it.
    """

    trial: int
    value: float
    config: Mapping[str, Scalar]

    def plain(self) -> dict[str, Any]:
        """As the database holds it."""
        return {"trial": self.trial, "value": self.value, "config": dict(self.config)}


@dataclass(frozen=True, slots=True)
class Transferred:
    """A configuration for the new study.

    Attributes:
        source: where it comes from.
        item: the searched knobs that it names, with the values that training uses.
        changes: what is not as in the earlier study, in words.
    """

    source: Source
    item: KnownConfiguration
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a study tries first.

    Attributes:
        taken: the configurations, best first.
        left_out: why better ones, or as good ones, are not among them, in words.
    """

    taken: tuple[Transferred, ...]
    left_out: tuple[str, ...]


def select(spec: StudySpec, sources: Iterable[Source], count: int) -> Selection:
    """The first `count` distinct configurations that the search space of a study can hold.

    Args:
        spec: the new study.
        sources: configurations of the earlier one, best first.
        count: at most this many.
    """
    taken: list[Transferred] = []
    left_out: list[str] = []
    is_exhaustive = not SAMPLERS[spec.sampler.name].handles_ranges
    for source in sources:
        if len(taken) == count:
            break
        item, changes = _mapped(spec.space, source.config)
        known = partial_configuration(spec.space, item)
        rules = broken_rules(known.values, spec.vocabulary)
        same = next((each for each in taken if each.item == item), None)
        if not item:
            reason = "it names no knob that this study searches"
        elif rules:
            reason = f"with what is fixed here, {rules[0].message}"
        elif item in spec.start_from:
            reason = f"it is start_from[{spec.start_from.index(item)}]"
        elif same is not None:
            reason = f"here it is the same as trial {same.source.trial}"
        elif is_exhaustive and known.drawn:
            drawn = enumerate_names(known.drawn, "and")
            reason = f"it leaves {drawn} open, and sampler {spec.sampler.name} tries every combination once"
        else:
            taken.append(Transferred(source, item, tuple(changes)))
            continue
        left_out.append(f"trial {source.trial} is left out: {reason}")
    return Selection(tuple(taken), tuple(left_out))


def _mapped(space: Space, config: Mapping[str, Scalar]) -> tuple[dict[str, Value], list[str]]:
    """What a configuration says of the searched knobs, and what is not as in it, in words."""
    item: dict[str, Value] = {}
    changes: list[str] = []
    why_open: dict[str, str] = {}
    complete = as_it_ran(config, space.vocabulary)
    for name in space.order():
        if name not in space.dimensions or name not in complete or name == "seed":  # a lucky seed is no knowledge
            continue
        there = complete[name]
        try:
            value = _fitted(space, name, there, item)
        except OutsideError as error:
            why_open[name] = f", since {error}"
            continue
        if value is not None:
            item[name] = value
            if stored(value) != there:
                changes.append(f"{name} was {figure(there)} there")
    item = {name: item[name] for name in space.dimensions if name in item}
    drawn = partial_configuration(space, item).drawn
    changes += [f"the sampler draws {name}{why_open.get(name, '')}" for name in drawn]
    return item, changes


def _fitted(space: Space, name: str, there: Scalar, item: Mapping[str, Value]) -> Value | None:
    """The value that training uses here: the same, or the nearest one of a range; None if not every such trial has it.

    Raises:
        OutsideError: there is none; the message says why.
    """
    knob, dimension = space.vocabulary.knobs[name], space.dimensions[name]
    try:
        value = knob.parse(there)
    except ValueError as error:
        raise OutsideError(f"{figure(there)} is unknown here") from error
    known = partial_configuration(space, {**item, name: value})
    if name not in known.searched:
        return None
    if isinstance(dimension, Choices):
        if value not in dimension.choices:
            raise OutsideError(f"{figure(there)} is not among its choices")
        return value
    per = dimension.per
    if per is not None and per.knob in known.undecided:
        raise OutsideError(f"it is searched {per}, which is open too")
    try:
        placed(dimension, value, known.values)
        return value
    except OutsideError:
        number = cast("float", value) if per is None else per.unscaled(cast("float", value), known.values)
        near = _nearest(knob, dimension, number)
        return near if per is None else per.scaled(near, known.values)


def _nearest(knob: Knob, dimension: Range, number: float) -> float:
    """The number of a range that is nearest to another one."""
    inside = min(max(number, dimension.low), dimension.high)
    if dimension.step is not None:
        low, step = exact(dimension.low), exact(dimension.step)
        most = (exact(dimension.high) - low) // step
        inside = float(low + min(round((exact(inside) - low) / step), most) * step)
    return int(inside) if knob.kind is Kind.INT else inside


def words(transferred: Transferred) -> str:
    """Where a configuration comes from, the knobs that it names, and what is not as there."""
    knobs = ", ".join(f"{name} {figure(stored(value))}" for name, value in transferred.item.items())
    return "; ".join((f"trial {transferred.source.trial}: {knobs}", *transferred.changes))
