"""The course of the study: every trial by its number, and the best value so far."""

from functools import partial

from markupsafe import Markup

from cifar_tune.plotting.ticks import range_ticks, thinned
from cifar_tune.reports.objective import axis_limits, finite
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.marks import MOST_LINKED, draw_trials, mark
from cifar_tune.reports.page.panel import NARROW, WIDE, Axis, Panel, dots, short
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord


def value_axis(report: Report, with_running: bool = False, objective: int = 0) -> Axis:
    """The axis of an objective, as wide as its values, without those that nearly diverged."""
    completed, pruned = report.measured(objective)
    shown = [report.on_axis(trial, objective) for trial in (*completed, *pruned)]
    scale = report.scales[objective]
    low, high = axis_limits([*shown, *(report.running.values() if with_running else ())], scale)
    ticks = range_ticks(low, high, log=False, whole=scale.is_count, at_most=6)
    return Axis(low, high, [(tick, short(tick)) for tick in ticks], scale.axis_label)


def course(report: Report, anchors: Anchors) -> list[Markup]:
    """The picture, for a wide page and for a narrow one."""
    return [_draw(report, anchors, WIDE, 330), _draw(report, anchors, NARROW, 280)]


def improvements(report: Report) -> list[TrialRecord]:
    """The trials that were the best so far when their turn came, by number."""
    found: list[TrialRecord] = []
    if report.is_linked:
        return found
    for trial in sorted(report.ranked, key=lambda each: each.number):
        if not found or _is_better(report, trial, found[-1]):
            found.append(trial)
    return found


def _is_better(report: Report, trial: TrialRecord, than: TrialRecord) -> bool:
    new, old = report.on_axis(trial), report.on_axis(than)
    return new > old if report.maximizes else new < old


def _draw(report: Report, anchors: Anchors, width: float, height: float) -> Markup:
    last = report.record.trials[-1].number
    y = value_axis(report, with_running=True)
    ticks = range_ticks(0, last, log=False, whole=True, at_most=6 if width == NARROW else 10)
    x = Axis(-0.5 - 0.02 * last, last + 0.5 + 0.02 * last, [(tick, short(tick)) for tick in ticks], "trial number")
    panel = Panel(width, height, x, y)
    without = [t for t in report.record.trials if t.state in ("FAIL", "PRUNED") and not finite(t.value)]
    if len(report.record.trials) <= MOST_LINKED:
        panel.add(*(mark(panel, report, anchors, trial, lambda t: (t.number, y.low), "none") for trial in without))
    else:
        panel.add(
            Markup('<path class="dots none" d="{}"/>').format(
                dots([panel.place(trial.number, y.low) for trial in thinned(without)])
            )
        )
    bests = improvements(report)
    if bests:
        points = [(float(trial.number), report.on_axis(trial)) for trial in bests]
        panel.line([*points, (float(last), points[-1][1])], "best-line", stepped=True)
    draw_trials(panel, report, anchors, lambda trial: (trial.number, report.on_axis(trial)))
    for number, value in report.running.items():
        trial = report.record.trials[number]
        place = (float(number), value)
        panel.add(mark(panel, report, anchors, trial, partial(_stay, place), "running"))
    best = "" if report.is_linked else ", and the best so far"
    return panel.render(f"{report.scale.label} of every trial by its number{best}")


def _stay(place: tuple[float, float], _: TrialRecord) -> tuple[float, float]:
    return place
