"""How many trials ran at each moment of the last hours, as a picture: a step line of SVG."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import Engine

from cifar_tune.optuna_questions import spans_of_trials

_WIDTH, _HEIGHT = 720, 160
_LEFT, _BOTTOM, _TOP = 34, 22, 10
_MOST = 20_000
_COLUMNS = 340
"""So many steps the line has at most: finer ones would not be seen."""


@dataclass(frozen=True, slots=True)
class Course:
    """The picture.

    Attributes:
        path: of the line.
        top: the highest number on the axis.
        marks: positions and words of the time axis.
        most: the most trials at the same time.
    """

    path: str
    top: int
    marks: tuple[tuple[float, str], ...]
    most: int
    width: int = _WIDTH
    height: int = _HEIGHT
    left: int = _LEFT
    bottom: int = _HEIGHT - _BOTTOM
    above: int = _TOP


def busy_over_time(engine: Engine, hours: int, slots: int) -> Course:
    """The trials of all studies that ran in the last hours.

    Args:
        engine: of the database.
        hours: how long ago the picture begins.
        slots: of the machine; the axis reaches at least so far.
    """
    now = time.time()
    begin = now - hours * 3600
    since = datetime.fromtimestamp(begin, UTC).replace(tzinfo=None)
    steps, most = steps_of(spans_of_trials(engine, since, _MOST), begin, now)
    top = max(1, slots, most)
    across, down = (_WIDTH - _LEFT - 6) / (now - begin), (_HEIGHT - _BOTTOM - _TOP) / top

    def x(at: float) -> float:
        return _LEFT + (at - begin) * across

    def y(count: int) -> float:
        return _HEIGHT - _BOTTOM - count * down

    path = f"M{x(begin):.1f} {y(0):.1f}"
    for at, count in steps:
        path += f"H{x(at):.1f}V{y(count):.1f}"
    path += f"H{x(now):.1f}"
    marks = tuple(
        (x(now - ago * 3600), "now" if not ago else f"{ago} h ago") for ago in range(0, hours + 1, max(1, hours // 3))
    )
    return Course(path, top, marks, most)


def steps_of(
    spans: Sequence[tuple[float, float | None]], begin: float, now: float
) -> tuple[list[tuple[float, int]], int]:
    """Where the line steps, and to what, and the highest number. In each column of the picture it is the highest one.

    Args:
        spans: when trials began and ended; None for those that run.
        begin: of the picture.
        now: its end.
    """
    starts = np.maximum(begin, [started for started, _ in spans])
    ends = np.array([ended for _, ended in spans if ended is not None])
    at = np.concatenate([ends, starts])
    change = np.concatenate([np.full(len(ends), -1), np.ones(len(starts), int)])
    order = np.argsort(at, kind="stable")  # of what happens at the same instant, the ends come first
    running = np.cumsum(change[order])
    edges = np.linspace(begin, now, _COLUMNS + 1)
    places = np.searchsorted(at[order], edges[:-1])
    highest = np.concatenate([[0], running])[places]  # what the column before has left
    for column, (first, last) in enumerate(itertools.pairwise([*places, len(at)])):
        if last > first:
            highest[column] = max(highest[column], running[first:last].max())
    is_step = np.diff(highest, prepend=0) != 0
    steps = [(float(edge), int(count)) for edge, count in zip(edges[:-1][is_step], highest[is_step], strict=True)]
    return steps, int(highest.max())
