"""A picture of the page: SVG whose colours are the page's own, so that it follows light and dark.

Lengths are CSS pixels at the picture's own width. All text goes through `Markup.format`, which escapes it. Lines and
dots are written with few characters.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cifar_tune.plotting.ticks import range_ticks
from cifar_tune.wording import tick_label


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


NARROW = 340.0
"""Width of a picture that fits on a telephone as it is."""

WIDE = 1040.0
"""Width of a picture across the page."""

Tick = tuple[float, str]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        low, high: its ends.
        ticks: places and their labels.
        label: what it shows.
        log: whether it is logarithmic.
    """

    low: float
    high: float
    ticks: Sequence[Tick]
    label: str = ""
    log: bool = False

    def share(self, value: float) -> float:
        """How far along the axis the value lies, from 0 to 1; values beyond lie at the end."""
        low, high, at = (Place.log10(each) if self.log else each for each in (self.low, self.high, value))
        return min(max((at - low) / (high - low), 0.0), 1.0)


def number_axis(low: float, high: float, label: str, *, whole: bool = False, ticks: int = 5) -> Axis:
    """An even axis with round ticks; a single value gets some room."""
    if low == high:
        low, high = low - 0.5, high + 0.5
    places = range_ticks(low, high, log=False, whole=whole, at_most=ticks)
    return Axis(low, high, [(place, short(place)) for place in places], label)


def short(value: float) -> str:
    """`0.01`, `1e-5`, `12k` or `3.4M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{tick_label(value / (1e3 if letter == 'k' else size))}{letter}"
    return tick_label(value)


class Panel:
    """A plot with two axes, to which marks are added one after the other."""

    def __init__(
        self,
        width: float,
        height: float,
        x: Axis,
        y: Axis,
        *,
        left: float = 48,
        bottom: float = 40,
        top: float = 10,
        right: float = 12,
    ) -> None:
        self.width, self.height, self.x_axis, self.y_axis = width, height, x, y
        self._left, self._right, self._top, self._bottom = left, width - right, top, height - bottom
        self._parts: list[Markup] = []

    @property
    def top(self) -> float:
        """Where the plot begins."""
        return self._top

    @property
    def bottom(self) -> float:
        """Where the plot ends."""
        return self._bottom

    def x(self, value: float) -> float:
        """From left to right."""
        return self._left + self.x_axis.share(value) * (self._right - self._left)

    def y(self, value: float) -> float:
        """From top to bottom."""
        return self._bottom - self.y_axis.share(value) * (self._bottom - self._top)

    def place(self, x: float, y: float) -> Place:
        """A point of the plot."""
        return Place(self.x(x), self.y(y))

    def add(self, *parts: Markup) -> None:
        """Draw on top of what there is."""
        self._parts.extend(parts)

    def line(self, points: Sequence[tuple[float, float]], look: str, *, stepped: bool = False) -> None:
        """A line through the points, in the axes' own units; `look` is its CSS class."""
        places = [self.place(x, y) for x, y in points]
        if len(places) > 0:
            self.add(Markup('<path class="{}" d="{}"/>').format(look, path(places, stepped=stepped)))

    def render(self, words: str) -> Markup:
        """The whole picture; `words` say what it is to those who do not see it."""
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
            round(self.width), round(self.height), words, self._axes(), Markup("").join(self._parts)
        )

    def _axes(self) -> Markup:
        parts = []
        for value, label in self.y_axis.ticks:
            at = round(self.y(value), 1)
            parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(self._left, at, self._right))
            parts.append(Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(self._left - 6, at + 4, label))
        for value, label in self.x_axis.ticks:
            at = round(self.x(value), 1)
            parts.append(Markup('<path class="mark" d="M{} {}v4"/>').format(at, self._bottom))
            for row, line in enumerate(label.split("\n")):
                parts.append(
                    Markup('<text class="tick mid" x="{}" y="{}">{}</text>').format(
                        at, self._bottom + 16 + 12 * row, line
                    )
                )
        parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(self._left, self._bottom, self._right))
        middle = round((self._left + self._right) / 2)
        if self.x_axis.label:
            parts.append(
                Markup('<text class="label mid" x="{}" y="{}">{}</text>').format(
                    middle, self.height - 5, self.x_axis.label
                )
            )
        if self.y_axis.label:
            parts.append(
                Markup('<text class="label mid" transform="translate(11 {}) rotate(-90)">{}</text>').format(
                    round((self._top + self._bottom) / 2), self.y_axis.label
                )
            )
        return Markup("").join(parts)
