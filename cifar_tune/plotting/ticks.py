"""Few, round ticks that can be read in small panels, labels that do not cover each other, and not too many dots."""

import math
from collections.abc import Sequence
from typing import TypeVar

from matplotlib.ticker import MaxNLocator

MOST_DOTS = 3000
"""Of one kind in one picture; more would lie on top of each other."""

MOST_IN_PANEL = 1000
"""The same in one of several small panels."""

T = TypeVar("T")


def thinned(marks: Sequence[T], most: int = MOST_DOTS) -> Sequence[T]:
    """At most this many of them, evenly."""
    return marks[:: math.ceil(len(marks) / most) or 1]


def counted_dots(drawn: Sequence[object], marks: Sequence[object]) -> str:
    """How many there are, for a legend: `3,487`, or `1,744 of 3,487` where `thinned` has left some out."""
    return f"{len(marks):,}" if len(drawn) == len(marks) else f"{len(drawn):,} of {len(marks):,}"


def thinned_words(kinds: Sequence[Sequence[object]], most: int) -> str:
    """What a picture says of the marks that `thinned` leaves out; empty if it draws all of each kind."""
    is_thinned = any(len(kind) > most for kind in kinds)
    return f"of each kind at most {most:,} trials are drawn, evenly chosen" if is_thinned else ""


def range_ticks(low: float, high: float, log: bool, whole: bool, at_most: int = 4) -> list[float]:
    """Round values between `low` and `high`, both included."""
    if low == high:
        return [low]
    candidates = _log_ticks(low, high, at_most) if log else _even_ticks(low, high, whole, at_most)
    slack = 1e-9 * (high - low)
    inside = [tick for tick in candidates if low - slack <= tick <= high + slack]
    return inside if len(inside) > 1 else [low, high]


def _even_ticks(low: float, high: float, whole: bool, at_most: int) -> list[float]:
    locator = MaxNLocator(nbins=at_most, integer=whole, steps=[1, 2, 2.5, 5, 10])
    return [float(tick) for tick in locator.tick_values(low, high)]


def _log_ticks(low: float, high: float, at_most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = math.log10(high / low)
    if decades < 2:
        factors = (1, 2, 5) if decades > 0.7 else (1, 1.5, 2, 3, 4, 5, 6, 8)
        ticks = [float(f"{factor}e{power}") for power in range(first, last + 1) for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        return inside[:: math.ceil(len(inside) / (at_most + 1)) or 1]
    powers = [
        power
        for power in range(first, last + 1)
        if low <= 10.0**power * (1 + 1e-9) and 10.0**power <= high * (1 + 1e-9)
    ]
    return [float(f"1e{power}") for power in powers[:: math.ceil(len(powers) / (at_most + 1))]]


def apart(places: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """Places of labels, in their order, at least `gap` apart and between `low` and `high`.

    Args:
        places: where they would stand, ascending.
        low: end of the room.
        high: the other end; there is room for all labels.
        gap: from one label to the next.
    """
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + gap if found else low))
    above = high
    for index in reversed(range(len(found))):
        found[index] = min(found[index], above)
        above = found[index] - gap
    return found
