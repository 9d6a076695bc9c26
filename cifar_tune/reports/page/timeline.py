"""When which trial ran: a bar for each on its device, or how many ran at a time where there are many."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappush, heapreplace

from markupsafe import Markup

from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.marks import title
from cifar_tune.reports.page.panel import NARROW, WIDE, number
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import clock_label, duration

_LONG = 20
"""A pause is cut out if it is this many times as long as the median trial, and a twentieth of all time."""

_SLACK = timedelta(seconds=0.5)
"""A worker asks for the next trial while the end of the last one is still being written."""


@dataclass(frozen=True, slots=True)
class Span:
    """One trial in time. One that is parked, or waited until it ended, ends where its training so far would have."""

    trial: TrialRecord
    device: str
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """From beginning to end, with what it waited for."""
        return (self.end - self.start).total_seconds()


def spans(trials: Sequence[TrialRecord]) -> list[Span]:
    """The trials that have begun, in the order in which they did."""
    times = [when for trial in trials for when in (trial.started, trial.ended) if when is not None]
    if not times:
        return []
    newest = max(times)
    found = []
    for trial in trials:
        if trial.started is None or trial.is_drawn:
            continue
        trained = trial.started + timedelta(seconds=trial.seconds)
        ended = None if trial.paused is not None else trial.ended
        end = ended or (max(newest, trained) if trial.state == "RUNNING" else trained)
        found.append(Span(trial, trial.device or "not known", trial.started, max(end, trial.started)))
    return sorted(found, key=lambda span: (span.start, span.trial.number))


def lanes(found: Sequence[Span]) -> list[tuple[Span, int]]:
    """Each span with a lane of its device, from 0, so that none overlap.

    Which worker ran a trial is not stored; the lanes are as many as ran at the same time.
    """
    ends: dict[str, list[tuple[datetime, int]]] = {}
    placed = []
    for span in found:
        taken = ends.setdefault(span.device, [])  # a heap, with the lane on top that is free first
        if taken and taken[0][0] <= span.start + _SLACK:
            lane = taken[0][1]
            heapreplace(taken, (span.end, lane))
        else:
            lane = len(taken)
            heappush(taken, (span.end, lane))
        placed.append((span, lane))
    return placed


def gaps(found: Sequence[Span]) -> list[tuple[datetime, datetime]]:
    """Long times in which no trial ran."""
    median = sorted(span.seconds for span in found)[len(found) // 2]
    whole = (max(span.end for span in found) - found[0].start).total_seconds()
    pauses, until = [], found[0].end
    for span in found:
        if (span.start - until).total_seconds() > max(_LONG * median, whole / 20, 1):
            pauses.append((until, span.start))
        until = max(until, span.end)
    return pauses


_MOST_BARS = 400
_ROW = 18
_HEIGHT = 120.0
_BINS = 200
_LABEL = 62.0
_STEPS = (
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    *(hours * 3600 for hours in (1, 2, 4, 6, 12, 24, 48, 120)),
    *(days * 86400 for days in (10, 20, 50, 100, 200)),
)
"""Round numbers of seconds."""


@dataclass(frozen=True)
class DeviceUse:
    """What ran on one device."""

    name: str
    trials: int
    lanes: int
    trained: float


@dataclass(frozen=True)
class Timeline:
    """The picture, for a wide and a narrow page, and what it says in figures.

    Attributes:
        first, last: when the first trial began and the last one ended, as the machine's clock said.
        busy: seconds in which at least one trial ran.
        idle: pauses that are cut out, in seconds.
        is_summed: whether it shows how many trials ran at a time.
    """

    pictures: Sequence[Markup]
    first: datetime
    last: datetime
    busy: float
    idle: Sequence[float]
    devices: Sequence[DeviceUse]
    is_summed: bool


def timeline(report: Report, anchors: Anchors) -> Timeline | None:
    """The timeline of a study; None if no trial has begun."""
    found = spans(report.record.trials)
    if not found:
        return None
    pauses = gaps(found)
    clock = _Clock(min(span.start for span in found), max(span.end for span in found), pauses)
    placed = lanes(found)
    names = sorted({span.device for span in found})
    devices = [
        DeviceUse(
            name,
            sum(span.device == name for span in found),
            1 + max(lane for span, lane in placed if span.device == name),
            sum(span.trial.seconds for span in found if span.device == name),
        )
        for name in names
    ]
    is_summed = len(found) > _MOST_BARS
    draw = _summed if is_summed else _bars
    pictures = [draw(report, anchors, placed, devices, clock, width) for width in (WIDE, NARROW)]
    idle = [(end - start).total_seconds() for start, end in pauses]
    return Timeline(pictures, clock.first, clock.last, clock.seconds, idle, devices, is_summed)


class _Clock:
    """Wall-clock time without long pauses, from 0 to 1."""

    def __init__(self, first: datetime, last: datetime, pauses: Sequence[tuple[datetime, datetime]]) -> None:
        self.first, self.last, self._pauses = first, last, pauses
        self.seconds = max(self._since(last), 1e-3)
        self.breaks = [self.share(start) for start, _ in pauses]

    def share(self, when: datetime) -> float:
        return self._since(when) / self.seconds

    def _since(self, when: datetime) -> float:
        cut = sum((max(min(end, when) - start, timedelta()) for start, end in self._pauses), timedelta())
        return (when - self.first - cut).total_seconds()


def _bars(
    report: Report,
    anchors: Anchors,
    placed: Sequence[tuple[Span, int]],
    devices: Sequence[DeviceUse],
    clock: _Clock,
    width: float,
) -> Markup:
    offsets, rows = {}, 0
    for device in devices:
        offsets[device.name] = rows
        rows += device.lanes
    reach = width - _LABEL - 8
    parts = _frame(devices, clock, width, rows * _ROW)
    for span, lane in placed:
        left = _LABEL + clock.share(span.start) * reach
        length = max(_LABEL + clock.share(span.end) * reach - left, 1.2)
        top = (offsets[span.device] + lane) * _ROW + 2
        words = f"{title(report, span.trial)}; {duration(span.seconds)}, {span.device}"
        parts.append(
            Markup(
                '<a href="{}" aria-label="trial {}"><rect class="run {}" x="{}" y="{}" width="{}" height="{}"/>'
                "<title>{}</title></a>"
            ).format(
                anchors.to(span.trial),
                span.trial.number,
                span.trial.state.lower(),
                number(left),
                top,
                number(max(length - 0.6, 1)),
                _ROW - 4,
                words,
            )
        )
    return _whole(parts, width, rows * _ROW)


def _summed(
    report: Report,
    anchors: Anchors,
    placed: Sequence[tuple[Span, int]],
    devices: Sequence[DeviceUse],
    clock: _Clock,
    width: float,
) -> Markup:
    """How many trials ran at a time, on average in each of 200 parts of the time, by how they ended."""
    states = ("COMPLETE", "PRUNED", "FAIL")
    sums = {state: [0.0] * _BINS for state in (*states, "RUNNING")}
    for span, _ in placed:
        start, end = clock.share(span.start) * _BINS, clock.share(span.end) * _BINS
        kept = sums[span.trial.state if span.trial.state in states else "RUNNING"]
        for index in range(int(start), min(int(end) + 1, _BINS)):
            kept[index] += max(min(end, index + 1) - max(start, index), 0.0)
    highest = max(1.0, *(sum(each) for each in zip(*sums.values(), strict=True)))
    step = (width - _LABEL - 8) / _BINS
    parts = _frame([], clock, width, _HEIGHT)
    parts.append(
        Markup('<text class="tick" x="0" y="12">{}</text>').format(
            f"{highest:,.0f}" if highest >= 100 else f"{highest:.3g}"
        )
    )
    parts.append(Markup('<text class="tick" x="0" y="24">at a time</text>'))
    below = [0.0] * _BINS
    for state, values in sums.items():
        above = [low + value for low, value in zip(below, values, strict=True)]
        there = [(_LABEL + index * step, _HEIGHT * (1 - value / highest)) for index, value in enumerate(above)]
        back = [(_LABEL + index * step, _HEIGHT * (1 - value / highest)) for index, value in enumerate(below)]
        outline = "M" + "L".join(f"{number(x)} {number(y)}H{number(x + step)}" for x, y in there)
        outline += "L" + "L".join(f"{number(x + step)} {number(y)}H{number(x)}" for x, y in reversed(back)) + "z"
        parts.append(Markup('<path class="run {}" d="{}"/>').format(state.lower(), outline))
        below = above
    return _whole(parts, width, _HEIGHT)


def _frame(devices: Sequence[DeviceUse], clock: _Clock, width: float, height: float) -> list[Markup]:
    reach, row = width - _LABEL - 8, 0
    parts = []
    for device in devices:
        parts.append(Markup('<text class="tick" x="0" y="{}">{}</text>').format(row * _ROW + 13, device.name[:10]))
        row += device.lanes
        if row * _ROW < height:
            parts.append(Markup('<path class="grid" d="M0 {}H{}"/>').format(row * _ROW, width))
    step = next((each for each in _STEPS if clock.seconds / each <= (5 if width == NARROW else 10)), 2 * clock.seconds)
    for index in range(int(clock.seconds / step) + 1):
        at = number(_LABEL + reach * index * step / clock.seconds)
        parts.append(Markup('<path class="grid" d="M{} 0v{}"/>').format(at, height))
        parts.append(
            Markup('<text class="tick mid" x="{}" y="{}">{}</text>').format(at, height + 16, clock_label(index * step))
        )
    for share in clock.breaks:
        at = number(_LABEL + reach * share)
        parts.append(Markup('<path class="pause" d="M{} 0v{}"/>').format(at, height))
    return parts


def _whole(parts: Sequence[Markup], width: float, height: float) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="which trial ran when">{}</svg>').format(
        round(width), round(height + 22), Markup("").join(parts)
    )
