"""Rules that join several knobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from cifar_tune.knobs.part import Value


@dataclass(frozen=True, slots=True)
class Rule:
    """A combination that cannot work.

    Attributes:
        knobs: the knobs that it joins; it is judged only where a run takes all of them.
        broken: tells whether their values break it.
        message: what must hold, as the end of a sentence.
    """

    knobs: tuple[str, ...]
    broken: Callable[[Mapping[str, Value]], bool]
    message: str


RULES: tuple[Rule, ...] = (
    Rule(
        ("nesterov", "momentum"),
        lambda values: bool(values["nesterov"]) and values["momentum"] == 0,
        "nesterov needs momentum > 0",
    ),
    Rule(
        ("augment",),
        lambda values: {"alternating_flip", "horizontal_flip"} <= set(cast(tuple[str, ...], values["augment"])),
        "alternating_flip takes the place of horizontal_flip, so that only one of them may be named",
    ),
)


def broken_rules(values: Mapping[str, Value]) -> list[Rule]:
    """The rules that these values break."""
    return [rule for rule in RULES if all(knob in values for knob in rule.knobs) and rule.broken(values)]
