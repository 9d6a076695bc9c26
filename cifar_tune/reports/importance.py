"""Picture: how important each searched knob was."""

import numpy as np
from matplotlib.figure import Figure

from cifar_tune.plotting import style
from cifar_tune.reports.importance_chance import Chance, Spread
from cifar_tune.reports.importances import ENOUGH_TRIALS, Importances, share_words
from cifar_tune.reports.report import Report

_WIDTH = 7.2


def draw(report: Report) -> Figure | str:
    """Draw one bar per knob, longest on top."""
    found = report.importances
    if isinstance(found, str):
        return found
    names = list(found.shares)
    shares = [found.shares[name] * 100 for name in names]
    around, by_chance = report.importance_spread, report.importance_chance
    remark = _remark(found, around, by_chance)
    rows = max(len(names), 2)
    figure = style.new_figure(_WIDTH, 1.05 + 0.3 * rows + style.remark_height(remark, _WIDTH))
    axes = figure.add_subplot()
    labels = {knob.name: knob.label for knob in report.knobs}
    places = range(len(names))
    axes.barh(places, shares, height=0.62, color=style.BLUE)
    # with the shares: at the ends of the lines they would be read as the ends' own values
    axes.set_yticks(places, [f"{labels[name]}   {share_words(found.shares[name])}" for name in names])
    ends = shares
    if around is not None:
        lows, highs = (np.array([around.intervals[name][side] * 100 for name in names]) for side in (0, 1))
        axes.hlines(places, lows, highs, color=style.INK, linewidth=1.2)
        axes.plot([*lows, *highs], [*places, *places], "|", color=style.INK, markersize=6)
        ends = [max(share, high) for share, high in zip(shares, highs.tolist(), strict=True)]
    if by_chance is not None:
        marks = [by_chance.marks[name] * 100 for name in names]
        ends = [max(end, mark) if mark <= 100 else end for end, mark in zip(ends, marks, strict=True)]
    axes.set_ylim(rows - 0.4, -0.6)
    limit = max(ends) * 1.04
    axes.set_xlim(0, limit)
    if by_chance is not None:
        beyond = [place for place, mark in zip(places, marks, strict=True) if mark > limit]
        inside = [place for place in places if place not in beyond]
        axes.plot([marks[place] for place in inside], inside, "D", color=style.GREY, markersize=4, zorder=3)
        if beyond:  # matplotlib would leave room for the place of an empty line too
            axes.plot([limit] * len(beyond), beyond, ">", color=style.GREY, markersize=5, clip_on=False, zorder=3)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("share of all knobs' importance (%)")
    style.title(figure, "What made the best trials different", remark)
    return figure


def _remark(found: Importances, around: Spread | None, by_chance: Chance | None) -> str:
    remark = f"PED-ANOVA: {found.basis}"
    if around is not None:
        remark += f". Lines: {around.words}"
    if by_chance is not None:
        remark += f". Grey marks: {by_chance.words}. {by_chance.verdict(found).removesuffix('.')}"
    if found.completed < ENOUGH_TRIALS:
        remark += f". Few: with fewer than {ENOUGH_TRIALS} this is a hint, no more."
    return remark
