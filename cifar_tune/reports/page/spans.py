"""From when to when trials ran, how many at a time on each device, and the pauses between runs of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cifar_tune.storage.records import TrialRecord

_LONG = 20
"""A pause is cut out if it is so many times as long as the median trial, and a twentieth of all time."""

_SLACK = timedelta(seconds=0.5)
"""A worker asks for the next trial while the end of the last one is still being written."""


@dataclass(frozen=True, slots=True)
class Span:
    """One trial in time. A parked one ends where its training so far would have."""

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
        end = trial.ended or (max(newest, trained) if trial.state == "RUNNING" else trained)
        found.append(Span(trial, trial.device or "not known", trial.started, max(end, trial.started)))
    return sorted(found, key=lambda span: (span.start, span.trial.number))


def lanes(found: Sequence[Span]) -> list[tuple[Span, int]]:
    """Each span with a lane of its device, from 0, so that none overlap.

    Which worker ran a trial is not stored; the lanes are as many as ran at the same time.
    """
    ends: dict[str, list[datetime]] = {}
    placed = []
    for span in found:
        taken = ends.setdefault(span.device, [])
        lane = min(range(len(taken)), key=taken.__getitem__, default=0)
        if not taken or taken[lane] > span.start + _SLACK:
            lane = len(taken)
            taken.append(span.end)
        taken[lane] = span.end
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
