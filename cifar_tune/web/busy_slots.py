"""How many trials ran at each moment of the last hours, as a picture: a step line of SVG."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from cifar_tune.optuna_tables import spans_of_trials

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
    changes: list[tuple[float, int]] = []
    since = datetime.fromtimestamp(begin, UTC).replace(tzinfo=None)
    for started, ended in spans_of_trials(engine, since, _MOST):
        changes.append((max(begin, _seconds(started)), 1))
        if ended is not None:
            changes.append((_seconds(ended), -1))
    steps, most = steps_of(changes, begin, now)
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


def steps_of(changes: list[tuple[float, int]], begin: float, now: float) -> tuple[list[tuple[float, int]], int]:
    """When the number changes, and to what, and the highest one. In each of the picture's columns it is the highest.

    Args:
        changes: when, and by how many.
        begin: of the picture.
        now: its end.
    """
    width = (now - begin) / _COLUMNS
    running = most = column = 0
    steps = [(begin, 0)]
    for at, change in sorted(changes):
        here = int((at - begin) / width)
        if here > column:  # the column ends with what it was left at
            column = here
            if steps[-1][1] != running:
                steps.append((begin + column * width, running))
        running += change
        most = max(most, running)
        if running > steps[-1][1]:
            if steps[-1][0] >= begin + column * width:
                steps.pop()
            steps.append((begin + column * width, running))
    if steps[-1][1] != running:
        steps.append((min(now, begin + (column + 1) * width), running))
    return steps, most


def _seconds(stored: datetime) -> float:
    return stored.replace(tzinfo=UTC).timestamp()
