"""How many slots were busy at each moment of the last hours, as a picture: a step line of SVG."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from cifar_tune.service.usage import busy_slots

_WIDTH, _HEIGHT = 720, 160
_LEFT, _BOTTOM, _TOP = 34, 22, 10
_COLUMNS = 340
"""So many steps the line has at most: finer ones would not be seen."""


@dataclass(frozen=True, slots=True)
class Course:
    """The picture.

    Attributes:
        path: of the line.
        top: the highest number on the axis.
        marks: positions and words of the time axis.
        most: the most slots that were busy at the same time.
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
    """The slots that studies held in the last hours.

    A slot is busy until its trial is parked. Trials would say too much: of one that was parked and goes on later,
    nobody knows for how long it ran.

    Args:
        engine: of the database.
        hours: how long ago the picture begins.
        slots: of the machine; the axis reaches at least so far.
    """
    now = time.time()
    begin = now - hours * 3600
    steps, most = steps_of(busy_slots(engine, begin), begin, now)
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


def steps_of(changes: Sequence[tuple[float, int]], begin: float, now: float) -> tuple[list[tuple[float, int]], int]:
    """Where the line steps, and to what, and the highest number. In each column of the picture it is the highest one.

    Args:
        changes: from when on how many slots were busy, in order; the first may lie before the picture.
        begin: of the picture.
        now: its end.
    """
    width = (now - begin) / _COLUMNS
    highest: dict[int, int] = {}  # of the changes in each column
    last: dict[int, int] = {}
    for at, count in changes:
        column = min(_COLUMNS - 1, max(0, int((at - begin) / width)))
        highest[column] = max(highest.get(column, 0), count)
        last[column] = count
    steps: list[tuple[float, int]] = []
    shown = before = 0
    for column in range(_COLUMNS):
        count = max(before, highest.get(column, 0))
        before = last.get(column, before)
        if count != shown:
            steps.append((begin + column * width, count))
            shown = count
    return steps, max((count for _, count in steps), default=0)
