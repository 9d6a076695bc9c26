"""How trials are drawn: a mark for each that leads to its row, or one path of dots where there are many."""

from collections.abc import Callable

from markupsafe import Markup

from cifar_tune.plotting.ticks import thinned
from cifar_tune.reports.page.anchors import Anchors
from cifar_tune.reports.page.panel import Panel, Place, dots, number
from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import figure

MOST_LINKED = 300
"""With more trials than these only the best ones are links."""

_BEST_LINKED = 20

At = Callable[[TrialRecord], tuple[float, float] | None]
"""Where a trial lies, in the units of the axes; None if it does not."""


def draw_trials(panel: Panel, report: Report, anchors: Anchors, at: At) -> None:
    """All completed and pruned trials, the best one on top."""
    linked = report.completed if len(report.record.trials) <= MOST_LINKED else report.ranked[:_BEST_LINKED]
    groups = (("pruned", report.pruned), ("infeasible", report.infeasible), ("completed", report.ranked))
    numbers = {trial.number for trial in linked}
    for look, trials in groups:
        if len(report.record.trials) <= MOST_LINKED:
            panel.add(*(mark(panel, report, anchors, trial, at, look) for trial in trials))
            continue
        some = [trial for trial in thinned(trials) if trial.number not in numbers]
        places = [panel.place(*place) for trial in some if (place := at(trial)) is not None]
        panel.add(Markup('<path class="dots {}" d="{}"/>').format(look, dots(places)))
    if len(report.record.trials) > MOST_LINKED:
        panel.add(*(mark(panel, report, anchors, trial, at, "completed") for trial in linked))
    if report.best is not None:
        panel.add(mark(panel, report, anchors, report.best, at, "best"))


def mark(panel: Panel, report: Report, anchors: Anchors, trial: TrialRecord, at: At, look: str) -> Markup:
    """One trial: a link with a title that says what it is."""
    values = at(trial)
    if values is None:
        return Markup("")
    place = panel.place(*values)
    return Markup('<a href="{}" aria-label="trial {}"><path class="mark-{}" d="{}"/><title>{}</title></a>').format(
        anchors.to(trial), trial.number, look, _SHAPES[look](place), title(report, trial)
    )


def title(report: Report, trial: TrialRecord) -> str:
    """`trial 3: 91.30 %, lr 0.01, optimizer sgd`."""
    values = ", ".join(scale.shown(value) for scale, value in zip(report.scales, trial.values, strict=False))
    params = ", ".join(f"{name} {figure(value)}" for name, value in trial.searched.items())
    state = "" if trial.state == "COMPLETE" else f" ({trial.reason or trial.state.lower()})".replace("_", " ")
    return ", ".join(filter(None, (f"trial {trial.number}{state}: {values or 'no value'}", params)))


def _dot(place: Place) -> str:
    return f"M{place}h0"


def _cross(place: Place) -> str:
    return f"M{number(place.x - 3)} {number(place.y - 3)}l6 6m0-6l-6 6"


def _diamond(place: Place) -> str:
    return f"M{number(place.x)} {number(place.y - 7)}l6 7l-6 7l-6-7z"


def ring(place: Place) -> str:
    """A small circle around it."""
    return f"M{number(place.x - 3)} {number(place.y)}a3 3 0 1 0 6 0a3 3 0 1 0-6 0"


def _tick(place: Place) -> str:
    return f"M{number(place.x)} {number(place.y)}v-8"


_SHAPES: dict[str, Callable[[Place], str]] = {
    "completed": _dot,
    "pruned": _cross,
    "infeasible": ring,
    "best": _diamond,
    "none": _tick,
    "running": ring,
}
