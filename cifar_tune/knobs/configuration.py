"""One training run's knobs, complete: who takes which knob, defaults filled in, values by type."""

from collections.abc import Iterator, Mapping
from typing import cast

from cifar_tune.knobs.knob import Knob, stored
from cifar_tune.knobs.part import Part, Scalar, Value
from cifar_tune.knobs.table import KNOBS


class Configuration(Mapping[str, Value]):
    """Every knob that a training run takes, with its value; knobs that it does not take are absent.

    Build it with `complete`. It is immutable and compares by value.
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Configuration({self._values!r})"

    def number(self, name: str) -> float:
        """The value of a FLOAT or INT knob as a float."""
        return float(cast(float, self._values[name]))

    def integer(self, name: str) -> int:
        """The value of an INT knob."""
        return cast(int, self._values[name])

    def flag(self, name: str) -> bool:
        """The value of a BOOL knob."""
        return cast(bool, self._values[name])

    def text(self, name: str) -> str:
        """The value of a NAME or TEXT knob."""
        return cast(str, self._values[name])

    def names(self, name: str) -> tuple[str, ...]:
        """The value of a NAMES knob."""
        return cast(tuple[str, ...], self._values[name])

    def replaced(self, **changes: Value) -> "Configuration":
        """The same configuration with some knobs changed; knobs that no longer apply are dropped."""
        return complete({**self._values, **changes})

    def stored(self) -> dict[str, Scalar]:
        """As the database holds it: lists of names joined with `+`."""
        return {name: stored(value) for name, value in self._values.items()}


def complete(chosen: Mapping[str, Value]) -> Configuration:
    """Fill in the default of every knob that applies and drop those that do not.

    `chosen` holds parsed values (`Knob.parse`).
    """
    values: dict[str, Value] = {}
    for knob in KNOBS.values():
        if applies(knob, values):
            values[knob.name] = chosen[knob.name] if knob.name in chosen else default_of(knob, values)
    return Configuration(values)


def applies(knob: Knob, values: Mapping[str, Value]) -> bool:
    """Whether a run whose owners have these values takes the knob."""
    return knob.owner is None or any(knob.name in part.arguments for part in chosen_parts(knob.owner, values))


def default_of(knob: Knob, values: Mapping[str, Value]) -> Value:
    """The knob's default beside these values of its owner: the owner's part may have one of its own."""
    if knob.owner is not None:
        for part in chosen_parts(knob.owner, values):
            if knob.name in part.defaults:
                return part.defaults[knob.name]
    return knob.default


def chosen_parts(owner: str, values: Mapping[str, Value]) -> list[Part]:
    """The parts that the owner's value names: none where the owner itself does not apply."""
    if owner not in values:
        return []
    value = values[owner]
    names = value if isinstance(value, tuple) else (value,)
    parts = cast(Mapping[str, Part], KNOBS[owner].names)
    return [parts[cast(str, name)] for name in names]


def takers(knob: Knob) -> tuple[str, ...]:
    """The owner's choices that take this knob: `sgd` and `rmsprop` for momentum."""
    if knob.owner is None:
        return ()
    parts = cast(Mapping[str, Part], KNOBS[knob.owner].names)
    return tuple(name for name, part in parts.items() if knob.name in part.arguments)
