"""The fixed knobs and the searched ones together: in which order they are decided, and what can come out.

Every knob has a value in a trial, or none because the trial does not take it. A searched knob whose conditions do
not hold keeps its default. Conditions are judged on these values, so they may stand on fixed knobs and defaults too,
and on knobs that are conditional themselves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import cast

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.search_space import Choices, Dimension, Range, condition_holds

MAX_OUTCOMES = 10_000


class TooManyOutcomesError(Exception):
    """The conditions of a space entangle more combinations than are worth walking through."""


def distinct(combinations: Iterable[Mapping[str, object]]) -> int:
    """How many of these combinations of searched values differ."""
    return len({tuple(sorted((name, str(value)) for name, value in each.items())) for each in combinations})


@dataclass(frozen=True)
class Space:
    """Fixed knobs and search dimensions, by knob name, and what the names mean."""

    fixed: Mapping[str, Value]
    dimensions: Mapping[str, Dimension]
    vocabulary: Vocabulary

    def order(self) -> Sequence[str]:
        """All knobs, each after its owner and after the knobs that its conditions stand on.

        Raises:
            graphlib.CycleError: if conditions stand on each other in a circle; `args[1]` lists it.
        """
        return self._order

    @cached_property
    def _order(self) -> tuple[str, ...]:
        # sorted, since the order of suggestions must not depend on how a process happens to hash
        parents = {name: sorted(self._parents(name)) for name in self.vocabulary.knobs}
        return tuple(TopologicalSorter(parents).static_order())

    def configuration(self, choose: Callable[[str, Dimension], Value]) -> Configuration:
        """One trial's configuration: `choose` is asked for the value of each dimension whose conditions hold.

        A value that is searched `per` another knob is put in proportion to it.
        """
        values: dict[str, Value] = {}
        for name in self.order():
            knob = self.vocabulary.knobs[name]
            if not self.vocabulary.applies(knob, values):
                continue
            if self.is_active(name, values):
                dimension = self.dimensions[name]
                values[name] = _scaled(dimension, choose(name, dimension), values)
            else:
                values[name] = self._unsearched(knob, values)
        in_order = {name: values[name] for name in self.vocabulary.knobs if name in values}
        return Configuration(in_order, self.vocabulary)

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Whether the knob is searched and its conditions hold, given the values decided before it."""
        dimension = self.dimensions.get(name)
        if dimension is None:
            return False
        return all(condition_holds(on, wanted, values.get(on)) for on, wanted in dimension.when.items())

    def outcomes(self, names: Set[str]) -> Iterator[dict[str, Value]]:
        """Every combination of values that the knobs in `names`, and those they depend on, can take.

        Ranges are represented by their two ends (in proportion, where they are searched `per` another knob), those of
        steps by the first step too: whoever asks for multiples of a number learns from the three whether all are.

        Raises:
            TooManyOutcomesError: beyond MAX_OUTCOMES.
        """
        needed = self.needed(names)
        order = [name for name in self.order() if name in needed]
        for count, outcome in enumerate(self._walk(order, 0, {})):
            if count == MAX_OUTCOMES:
                raise TooManyOutcomesError
            yield outcome

    def may_take(self, name: str) -> bool:
        """Whether some configuration has the knob; so it is where there are too many combinations to look at."""
        try:
            return any(name in outcome for outcome in self.outcomes({name}))
        except TooManyOutcomesError:
            return True

    def needed(self, names: Set[str]) -> Set[str]:
        """The knobs in `names`, and all those that they depend on."""
        needed: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting.extend(self._parents(name))
        return needed

    def largest(self, name: str) -> float:
        """The largest value that a numeric knob can reach."""
        return max(float(outcome[name]) for outcome in self.outcomes({name}))  # type: ignore[arg-type]

    def size(self) -> int | None:
        """How many different configurations it holds; None if a range has no step.

        Raises:
            TooManyOutcomesError: if the knobs that others depend on alone make more than MAX_OUTCOMES.
        """
        counts = {
            name: dimension.count if isinstance(dimension, Range) else len(dimension.choices)
            for name, dimension in self.dimensions.items()
        }
        if None in counts.values():
            return None
        deciding = {parent for name in self.dimensions for parent in self._deciders(name)}
        leaves = [name for name in self.dimensions if name not in deciding]
        return sum(
            prod(counts[name] or 1 for name in leaves if self.is_active(name, outcome))
            for outcome in self.outcomes(deciding)
        )

    def _walk(self, order: list[str], position: int, values: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if position == len(order):
            yield dict(values)
            return
        name = order[position]
        knob = self.vocabulary.knobs[name]
        active = self.is_active(name, values)
        # a searched knob is walked through even where it is not taken: that is what `check` must find
        if active:
            dimension = self.dimensions[name]
            candidates = tuple(_scaled(dimension, value, values) for value in _candidates(dimension))
        elif self.vocabulary.applies(knob, values):
            candidates = (self._unsearched(knob, values),)
        else:
            yield from self._walk(order, position + 1, values)
            return
        for value in candidates:
            values[name] = value
            yield from self._walk(order, position + 1, values)
        del values[name]

    def _unsearched(self, knob: Knob, values: Mapping[str, Value]) -> Value:
        return self.fixed[knob.name] if knob.name in self.fixed else self.vocabulary.default_of(knob, values)

    def _parents(self, name: str) -> set[str]:
        """The knobs that must have their values before this one."""
        dimension = self.dimensions.get(name)
        per = dimension.per if isinstance(dimension, Range) else None
        return self._deciders(name) | ({per.knob} if per else set())

    def _deciders(self, name: str) -> set[str]:
        """The knobs that decide whether this one is taken and searched."""
        parents = set(self.dimensions[name].when) if name in self.dimensions else set()
        owner = self.vocabulary.knobs[name].owner
        return parents | {owner} if owner else parents


def find_cycle(space: Space) -> list[str] | None:
    """Knobs that need each other's values (`when`, `per`) in a circle, the first one also at the end; else None."""
    try:
        space.order()
    except CycleError as error:
        return list(error.args[1])
    return None


def _scaled(dimension: Dimension, value: Value, values: Mapping[str, Value]) -> Value:
    """What training uses where `value` is suggested beside these values."""
    if isinstance(dimension, Choices) or dimension.per is None or dimension.per.knob not in values:
        return value  # `check_space` refuses what is searched per a knob that can be missing
    return dimension.per.scaled(cast(float, value), values)


def _candidates(dimension: Dimension) -> tuple[Value, ...]:
    if isinstance(dimension, Choices):
        return dimension.choices
    first_steps = (dimension.low,) if dimension.step is None else (dimension.low, dimension.low + dimension.step)
    return tuple(dict.fromkeys((*first_steps, dimension.high)))
