"""Figures that say how far they scatter, from rounds in which every variant takes its turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and their extremes."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{digits(self.median)} ({digits(self.low)} to {digits(self.high)})"


def spread(values: Sequence[float]) -> Spread:
    """Summarize the figures of all rounds."""
    return Spread(median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """`theirs / ours`, round by round: what disturbed one round disturbed both."""
    return spread([their / our for our, their in zip(ours, theirs, strict=True)])


def interleaved(variants: Mapping[str, Callable[[int], Figure]], rounds: int) -> dict[str, list[Figure]]:
    """Measure every variant once per round, in turns: each round begins with another one.

    Args:
        variants: by name, what measures the variant in the round of that number.
        rounds: how many.
    """
    names = list(variants)
    found: dict[str, list[Figure]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(variants[name](number))
    return found


def seconds_of(call: Callable[[], object], times: int) -> float:
    """Mean seconds of a call, after two that warm up."""
    for _ in range(2):
        call()
    started = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started) / times


def digits(value: float) -> str:
    """Three significant digits, or all that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
