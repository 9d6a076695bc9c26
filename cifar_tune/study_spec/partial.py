"""What is known of a trial when only some of its searched knobs are: the others are for the sampler to draw."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.search_space import Choices, When, condition_holds
from cifar_tune.study_spec.space import Space


@dataclass(frozen=True, slots=True)
class Partial:
    """A configuration that is known in part.

    Attributes:
        values: the knobs that every such trial takes with the same value.
        searched: those of them that are searched and were named.
        undecided: the knobs that depend on what the sampler draws.
        drawn: the searched ones among these, in the order of the search space.
    """

    values: Mapping[str, Value]
    searched: Set[str]
    undecided: Set[str]
    drawn: tuple[str, ...]


def partial_configuration(space: Space, named: Mapping[str, Value]) -> Partial:
    """What follows from the named values of searched knobs; names whose conditions do not hold count for nothing."""
    values: dict[str, Value] = {}
    searched: set[str] = set()
    undecided: dict[str, tuple[Value, ...]] = {}  # what each of them can be; empty: anything
    vocabulary = space.vocabulary
    for name in space.order():
        knob, dimension = vocabulary.knobs[name], space.dimensions.get(name)
        is_taken = _is_taken(knob, vocabulary, values, undecided)
        is_searched = dimension is not None and _all_hold(dimension.when, values, undecided)
        if is_taken is False:
            continue
        if is_taken and is_searched and name in named:
            values[name] = named[name]
            searched.add(name)
        elif is_taken and is_searched is False and (name in space.fixed or knob.owner not in undecided):
            values[name] = space.fixed[name] if name in space.fixed else vocabulary.default_of(knob, values)
        elif is_taken and is_searched and isinstance(dimension, Choices):
            undecided[name] = dimension.choices
        else:
            undecided[name] = ()
    drawn = tuple(name for name in space.dimensions if name in undecided)
    return Partial(values, searched, set(undecided), drawn)


def _is_taken(
    knob: Knob, vocabulary: Vocabulary, values: Mapping[str, Value], undecided: Mapping[str, tuple[Value, ...]]
) -> bool | None:
    owner = knob.owner
    if owner is not None and owner in undecided:
        return _agreed(vocabulary.applies(knob, {owner: value}) for value in undecided[owner])
    return vocabulary.applies(knob, values)


def _all_hold(when: When, values: Mapping[str, Value], undecided: Mapping[str, tuple[Value, ...]]) -> bool | None:
    """Whether all conditions hold; None where that depends on what is drawn."""
    each = [
        _agreed(condition_holds(on, wanted, value) for value in undecided[on])
        if on in undecided
        else condition_holds(on, wanted, values.get(on))
        for on, wanted in when.items()
    ]
    return False if False in each else None if None in each else True


def _agreed(answers: Iterable[bool]) -> bool | None:
    found = set(answers)
    return found.pop() if len(found) == 1 else None
