"""One training run's knobs, complete: who takes which knob, defaults filled in, values by type."""

from collections.abc import Iterator, Mapping, Set
from typing import Any, cast

from cifar_tune.knobs.knob import Kind, stored
from cifar_tune.knobs.part import Part, Scalar, Value
from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary


class Configuration(Mapping[str, Value]):
    """Every knob that a training run takes, with its value; knobs that it does not take are absent.

    Build it with `complete`. It is immutable and compares by value.

    Attributes:
        vocabulary: what its names mean.
    """

    def __init__(self, values: Mapping[str, Value], vocabulary: Vocabulary = BUILT_IN) -> None:
        self._values = dict(values)
        self.vocabulary = vocabulary

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

    def part(self, owner: str) -> Part:
        """The part that a NAME knob which owns others names: of `optimizer` the optimizer."""
        return self.vocabulary.parts(owner)[self.text(owner)]

    def replaced(self, **changes: Value) -> "Configuration":
        """The same configuration with some knobs changed; knobs that no longer apply are dropped."""
        return complete({**self._values, **changes}, self.vocabulary)

    def stored(self) -> dict[str, Scalar]:
        """As the database holds it: lists of names joined with `+`."""
        return {name: stored(value) for name, value in self._values.items()}


def complete(chosen: Mapping[str, Value], vocabulary: Vocabulary = BUILT_IN) -> Configuration:
    """Fill in the default of every knob that applies and drop those that do not.

    `chosen` holds parsed values (`Knob.parse`).
    """
    values: dict[str, Value] = {}
    parts: dict[str, list[Part]] = {}  # those that the value of each owner names
    for name, knob in vocabulary.knobs.items():  # owners come before what they own
        owners: list[Part] = []
        if knob.owner is not None:
            if knob.owner not in parts:
                parts[knob.owner] = vocabulary.chosen_parts(knob.owner, values)
            owners = parts[knob.owner]
            if not any(name in part.arguments for part in owners):
                continue
        if name in chosen:
            values[name] = chosen[name]
        else:
            values[name] = next((part.defaults[name] for part in owners if name in part.defaults), knob.default)
    return Configuration(values, vocabulary)


def as_it_ran(config: Mapping[str, Any], vocabulary: Vocabulary) -> Mapping[str, Any]:
    """The stored knobs of a trial, complete: a trial that is older than some knobs lacks these.

    It did what their defaults do, or what BEFORE_THEY_WERE_KNOBS says. Without a known model there is nothing to go by,
    and nothing is added.

    Args:
        config: as `Configuration.stored` gives it; perhaps of an earlier version.
        vocabulary: of its study.
    """
    if not _taken_by_model(config, vocabulary):
        return config
    filled = dict(_with_earlier_meaning(config, vocabulary))
    parts: dict[str, list[Part]] = {}
    for name, knob in vocabulary.knobs.items():  # owners come before what they own
        if name in filled:
            continue
        if knob.owner is not None and knob.owner not in parts:
            parts[knob.owner] = _known_parts(filled.get(knob.owner), knob.owner, vocabulary)
        takers = [] if knob.owner is None else [part for part in parts[knob.owner] if name in part.arguments]
        if knob.owner is None or takers:
            own = next((part.defaults[name] for part in takers if name in part.defaults), knob.default)
            filled[name] = BEFORE_THEY_WERE_KNOBS[name] if name in BEFORE_THEY_WERE_KNOBS else stored(own)
    return filled


def _known_parts(value: object, owner: str, vocabulary: Vocabulary) -> list[Part]:
    """The parts that a stored value of a knob names, of those that are known."""
    if not isinstance(value, str):
        return []
    names = value.split("+") if vocabulary.knobs[owner].kind is Kind.NAMES else [value]
    parts = vocabulary.parts(owner)
    return [parts[name] for name in names if name in parts]


def _with_earlier_meaning(config: Mapping[str, Any], vocabulary: Vocabulary) -> Mapping[str, Any]:
    taken = _taken_by_model(config, vocabulary)
    newer = {name: before for name, before in BEFORE_THEY_WERE_KNOBS.items() if name in taken and name not in config}
    return {**config, **newer} if newer else config


def as_exported(train: Mapping[str, Value], vocabulary: Vocabulary) -> Mapping[str, Value]:
    """The knobs that a CONFIG file names, and those that were not knobs yet when it was exported.

    An export names every knob. So a file that names all knobs of its model except newer ones was exported before there
    were these, and means what its training did. Any other file leaves them at their defaults.
    """
    filled = _with_earlier_meaning(train, vocabulary)
    return filled if _taken_by_model(train, vocabulary) <= filled.keys() else train


def _taken_by_model(config: Mapping[str, Any], vocabulary: Vocabulary) -> Set[str]:
    model = config.get("model")
    part = vocabulary.models.get(model) if isinstance(model, str) else None
    return frozenset() if part is None else part.arguments.keys()
