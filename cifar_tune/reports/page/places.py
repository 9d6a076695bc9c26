"""Points of a picture, and how lines through them and dots at them are written with few characters."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A point, in pixels from the upper left corner."""

    x: float
    y: float

    def __str__(self) -> str:
        return f"{number(self.x)} {number(self.y)}"

    @staticmethod
    def log10(value: float) -> float:
        """The logarithm; what has none lies below all others."""
        return math.log10(value) if value > 0 else -math.inf


def number(value: float) -> str:
    """A tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def path(places: Sequence[Place], *, stepped: bool = False) -> str:
    """A line through the places; stepped, it goes right before it goes up. A single place is a dot."""
    if len(places) == 1:
        return f"M{places[0]}h0"
    first, *others = places
    if stepped:
        return f"M{first}" + "".join(f"H{number(place.x)}V{number(place.y)}" for place in others)
    return f"M{first}L" + " ".join(map(str, others))


def dots(places: Sequence[Place]) -> str:
    """All places as dots of one path: a tenth of the characters of a circle for each."""
    return "".join(f"M{place}h0" for place in places)
