"""The axis of a searched knob, and where a trial lies on it."""

from collections.abc import Mapping

from cifar_tune.knobs.knob import Kind
from cifar_tune.plotting.ticks import range_ticks
from cifar_tune.reports.labels import level_label
from cifar_tune.reports.page.panel import Axis, short
from cifar_tune.reports.report import SearchedKnob
from cifar_tune.storage.records import TrialRecord

_GOLDEN = 0.618034
_CHARACTERS = 44
"""Of labels that fit below a narrow picture."""


def knob_axis(knob: SearchedKnob, counts: Mapping[int, int] | None = None) -> Axis:
    """The axis, labelled with the knob's name and how its numbers are to be read.

    Args:
        knob: what is searched.
        counts: how many trials had each choice, by its position, to be written below it; None to write nothing.
    """
    label = ", ".join([knob.name, *knob.remarks])
    if knob.levels is not None:
        return Axis(-0.6, len(knob.levels) - 0.4, _level_ticks(knob.levels, counts), label)
    whole = knob.knob.kind is Kind.INT
    ticks = [(tick, short(tick)) for tick in range_ticks(knob.low, knob.high, knob.log, whole, at_most=5)]
    if knob.low == knob.high:
        return Axis(knob.low - 0.5, knob.high + 0.5, ticks, label)
    if knob.log:
        margin = (knob.high / knob.low) ** 0.04
        return Axis(knob.low / margin, knob.high * margin, ticks, label, log=True)
    margin = 0.04 * (knob.high - knob.low)
    return Axis(knob.low - margin, knob.high + margin, ticks, label)


def spread_position(knob: SearchedKnob, trial: TrialRecord, way: float = _GOLDEN) -> float | None:
    """Where the trial lies; trials of one choice are spread by their numbers, the same in every export."""
    position = knob.position(trial)
    if position is None or knob.levels is None:
        return position
    return position + ((trial.number * way) % 1 - 0.5) * 0.56


def _level_ticks(levels: tuple[object, ...], counts: Mapping[int, int] | None) -> list[tuple[float, str]]:
    room = max(_CHARACTERS // len(levels) - 1, 3)
    labels = [level_label(level, one_line=True) for level in levels]
    labels = [label if len(label) <= room else f"{label[: room - 1]}…" for label in labels]
    if counts is not None:
        named = [f"n={counts.get(index, 0):,}" for index in range(len(levels))]
        numbers = named if max(map(len, named)) <= room else [each.removeprefix("n=") for each in named]
        labels = [f"{label}\n{count}" for label, count in zip(labels, numbers, strict=True)]
    return [(float(index), label) for index, label in enumerate(labels)]
