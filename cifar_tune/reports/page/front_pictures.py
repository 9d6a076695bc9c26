"""The objectives against each other, with the Pareto front."""

from itertools import combinations

from markupsafe import Markup

from cifar_tune.plotting.ticks import range_ticks, thinned
from cifar_tune.reports.objective import finite
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.marks import MOST_LINKED, mark
from cifar_tune.reports.page.panel import NARROW, Axis, Panel, dots, number_axis, short
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord

_SPAN = 30.0
"""An axis of counts or seconds that spans more is logarithmic."""

_MOST_FRONT = 300


def front_pictures(report: Report, anchors: Anchors) -> list[tuple[Markup, Markup]]:
    """One picture per pair of objectives, for a wide page and for a narrow one; empty where no trial completed."""
    completed = [trial for trial in report.completed if all(finite(value) for value in trial.values)]
    if not completed:
        return []
    widths = (NARROW * 1.4, NARROW) if len(report.scales) == 2 else (NARROW,)  # several stand side by side
    pairs = combinations(range(len(report.scales)), 2)
    pictures = [[_draw(report, anchors, completed, x, y, width) for width in widths] for y, x in pairs]
    return [(each[0], each[-1]) for each in pictures]


def _draw(report: Report, anchors: Anchors, completed: list[TrialRecord], x: int, y: int, width: float) -> Markup:
    def at(trial: TrialRecord) -> tuple[float, float]:
        return report.scales[x].on_axis(trial.values[x]), report.scales[y].on_axis(trial.values[y])

    places = [at(trial) for trial in completed]
    panel = Panel(
        width, 340 if width > NARROW else 280, _axis(report, x, [place[0] for place in places]),
        _axis(report, y, [place[1] for place in places]),
    )  # fmt: skip
    drawn = {trial.number for trial in completed}
    front = [trial for trial in report.front if trial.number in drawn]
    if len(report.scales) == 2 and len(front) > 1:  # with three objectives a front is no line
        line = sorted(at(trial) for trial in front)
        if report.record.spec.objectives[x].direction == "maximize":
            line.reverse()  # as good as a trial on the way to the next one, and no better
        panel.line(line, "best-line", stepped=True)
    on_front = {trial.number for trial in front}
    others = [trial for trial in completed if trial.number not in on_front]
    for look, feasible in (("infeasible", False), ("completed", True)):
        group = [trial for trial in others if bool(trial.feasible) is feasible]
        if len(others) <= MOST_LINKED:
            panel.add(*(mark(panel, report, anchors, trial, at, look) for trial in group))
        else:
            path = dots([panel.place(*at(trial)) for trial in thinned(group)])
            panel.add(Markup('<path class="dots {}" d="{}"/>').format(look, path))
    panel.add(*(mark(panel, report, anchors, trial, at, "best") for trial in front[:_MOST_FRONT]))
    return panel.render(f"{report.scales[y].label} against {report.scales[x].label}")


def _axis(report: Report, index: int, values: list[float]) -> Axis:
    scale = report.scales[index]
    low, high = min(values), max(values)
    if not scale.is_share and low > 0 and high > _SPAN * low:
        ticks = range_ticks(low, high, log=True, whole=scale.is_count, at_most=5)
        margin = (high / low) ** 0.05
        return Axis(low / margin, high * margin, [(tick, short(tick)) for tick in ticks], scale.axis_label, log=True)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return number_axis(low - margin, high + margin, scale.axis_label, whole=scale.is_count)
