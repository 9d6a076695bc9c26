"""The objective over two knobs at a time: smoothed over ranges, medians of cells where one has choices."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
from contourpy import FillType, contour_generator
from markupsafe import Markup

from cifar_tune.reports.importances import Importances
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.knob_axes import knob_axis, spread_position
from cifar_tune.reports.page.marks import MOST_LINKED, draw_trials, mark
from cifar_tune.reports.page.panel import NARROW, Panel, Place
from cifar_tune.reports.report import Report, SearchedKnob
from cifar_tune.storage.records import TrialRecord

Floats = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.uint32]

LEVELS = 7
"""Shades, from worst to best."""

_KNOBS = 3
_FEWEST = 15
_GRID = 44
_CELLS = 5
_NEAR = 0.6
_OTHERWISE = 0.414214
"""Spreads the trials of a cell upwards, in another way than sideways."""


@dataclass(frozen=True)
class Contours:
    """One picture: the two knobs, and the values between which the shades lie."""

    heading: str
    picture: Markup
    low: str
    high: str
    trials: int


def contours(report: Report, anchors: Anchors) -> list[Contours]:
    """The pairs of the three most important knobs of which enough completed trials took both."""
    found = report.importances
    if not isinstance(found, Importances):
        return []
    by_name = {knob.name: knob for knob in report.knobs}
    knobs = [by_name[name] for name, share in found.shares.items() if share > 0][:_KNOBS]
    pairs = ((x, y, _both(report, x, y)) for x, y in combinations(knobs, 2))
    return [_draw(report, anchors, x, y, trials) for x, y, trials in pairs if len(trials) >= _FEWEST]


def _both(report: Report, x: SearchedKnob, y: SearchedKnob) -> list[TrialRecord]:
    return [trial for trial in report.completed if x.name in trial.params and y.name in trial.params]


def _draw(
    report: Report, anchors: Anchors, x: SearchedKnob, y: SearchedKnob, trials: Sequence[TrialRecord]
) -> Contours:
    if y.levels is None and x.levels is not None:
        x, y = y, x
    panel = Panel(NARROW, 260, knob_axis(x), knob_axis(y), left=64)
    values = np.array([report.on_axis(trial) for trial in trials])
    low, high = (float(each) for each in np.quantile(values, (0.1, 0.95) if report.maximizes else (0.05, 0.9)))
    if low == high:
        pad = 1e-6 * max(abs(low), 1.0)  # less would be lost in the digits of a large value
        low, high = low - pad, high + pad
    edges = np.linspace(low, high, LEVELS + 1)
    if x.levels is None and y.levels is None:
        panel.add(*_smooth(panel, report, (x, y), trials, edges))
    else:
        panel.add(*_cells(panel, report, (x, y), trials, edges))

    def at(trial: TrialRecord) -> tuple[float, float] | None:
        places = spread_position(x, trial), spread_position(y, trial, _OTHERWISE)
        return None if places[0] is None or places[1] is None else (places[0], places[1])

    if len(trials) <= MOST_LINKED:
        panel.add(*(mark(panel, report, anchors, trial, at, "completed") for trial in trials))
        if report.best is not None:
            panel.add(mark(panel, report, anchors, report.best, at, "best"))
    else:
        draw_trials(panel, report, anchors, at)
    first, last = (low, high) if report.maximizes else (high, low)
    picture = panel.render(f"{report.scale.label} over {x.label} and {y.label}")
    return Contours(f"{x.name} and {y.name}", picture, f"{first:.3g}", f"{last:.3g}", len(trials))


def _shade(report: Report, value: float, edges: Floats) -> int:
    """From 0, the worst, to LEVELS - 1."""
    index = int(np.clip(np.searchsorted(edges, value, side="right") - 1, 0, LEVELS - 1))
    return index if report.maximizes else LEVELS - 1 - index


def _smooth(
    panel: Panel, report: Report, knobs: tuple[SearchedKnob, SearchedKnob], trials: Sequence[TrialRecord], edges: Floats
) -> list[Markup]:
    """Contours of a kernel mean over the unit square; where no trial is near there is no colour."""
    axes = (panel.x_axis, panel.y_axis)
    places = np.array(
        [
            [axis.share(float(trial.params[knob.name])) for axis, knob in zip(axes, knobs, strict=True)]
            for trial in trials
        ]
    )
    values = np.clip([report.on_axis(trial) for trial in trials], edges[0], edges[-1])
    width = 0.35 * len(trials) ** (-1 / 6)
    ends = np.linspace(0, 1, _GRID)
    grid = np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)
    total, mean = np.zeros(len(grid)), np.zeros(len(grid))
    for start in range(0, len(trials), 1000):  # at most 16 MB at a time
        block = slice(start, start + 1000)
        distance = ((grid[:, None, :] - places[None, block]) ** 2).sum(axis=-1)
        weight = np.exp(-distance / (2 * width**2))
        total += weight.sum(axis=1)
        mean += weight @ values[block]
    z = np.ma.masked_where(total < _NEAR, mean / np.maximum(total, 1e-12)).reshape(_GRID, _GRID)
    contour = contour_generator(ends, ends, z, fill_type=FillType.OuterOffset)
    left, right = panel.x(panel.x_axis.low), panel.x(panel.x_axis.high)
    parts = []
    for index in range(LEVELS):
        between = (-np.inf if index == 0 else edges[index], np.inf if index == LEVELS - 1 else edges[index + 1])
        points, offsets = cast("tuple[list[Floats], list[Offsets]]", contour.filled(*between))
        outline = "".join(
            "M"
            + "L".join(
                str(Place(left + px * (right - left), panel.bottom - py * (panel.bottom - panel.top)))
                for px, py in polygon[begin:end]
            )
            + "z"
            for polygon, offset in zip(points, offsets, strict=True)
            for begin, end in pairwise(offset)
        )
        shade = index if report.maximizes else LEVELS - 1 - index
        parts.append(Markup('<path class="fill c{}" d="{}"/>').format(shade, outline))
    return parts


def _cells(
    panel: Panel, report: Report, knobs: tuple[SearchedKnob, SearchedKnob], trials: Sequence[TrialRecord], edges: Floats
) -> list[Markup]:
    """The median of each choice, or of each fifth of a range, wherever trials are."""
    found: dict[tuple[int, int], list[float]] = {}
    for trial in trials:
        column, row = (
            _cell(axis.share(float(position)), knob)
            for axis, knob in zip((panel.x_axis, panel.y_axis), knobs, strict=True)
            if (position := knob.position(trial)) is not None
        )
        found.setdefault((column, row), []).append(report.on_axis(trial))
    columns, rows = (len(knob.levels) if knob.levels is not None else _CELLS for knob in knobs)
    left, right = panel.x(panel.x_axis.low), panel.x(panel.x_axis.high)
    width, height = (right - left) / columns, (panel.bottom - panel.top) / rows
    parts = []
    for (column, row), values in sorted(found.items()):
        median = float(np.median(values))
        parts.append(
            Markup('<path class="fill c{}" d="M{}h{}v-{}h-{}z"><title>{}</title></path>').format(
                _shade(report, median, edges),
                Place(left + column * width, panel.bottom - row * height),
                round(width, 1),
                round(height, 1),
                round(width, 1),
                f"median {median:.4g} of {len(values):,} trials",
            )
        )
    return parts


def _cell(share: float, knob: SearchedKnob) -> int:
    count = _CELLS if knob.levels is None else len(knob.levels)
    return min(int(share * count), count - 1)
