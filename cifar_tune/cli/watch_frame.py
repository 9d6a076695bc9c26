"""What `cifar-tune watch` draws of a study."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cifar_tune.cli.progress import TrialRows
from cifar_tune.storage.attributes import REASONS, why_stopped
from cifar_tune.storage.linked import linked_words, parent_of
from cifar_tune.visible import visible
from cifar_tune.wording import counted, epoch_speed, estimated_duration, metric_figure, rough_duration, shown_params

LAST = 5
"""So many of the trials that ended last are drawn."""

_MOST_BEGUN = 16
_AWAY = 3
"""Looks in a row at which nobody ran the study, after which a run that was seen counts as ended."""

_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}

State = Mapping[str, Any]
"""A study as `study.live` tells it."""


def frame(state: State, trouble: str = "") -> Group:
    """States, best, running and parked trials with their epochs, those that ended last, and who runs the study.

    Args:
        state: of the study.
        trouble: with reading it, or why it waits.
    """
    status = state["status"]
    owner = status["owner"]
    parts: list[Text | Table] = [_headline(status, owner), _bar(status), _best(state), _owner(state, owner)]
    begun: Sequence[State] = state["running"][:_MOST_BEGUN]
    if begun:
        parts.append(_begun(status, begun, "" if owner else "left behind"))
    if state["begun"] > len(begun):
        parts.append(Text(f"and {counted(state['begun'] - len(begun), 'trial')} more that have not ended", style="dim"))
    parts += [_ended(status, trial) for trial in state["ended"][-LAST:]]
    if trouble:
        parts.append(Text(visible(trouble), style="red"))
    return Group(*parts)


class RunSeen:
    """Whether a run that was seen at some look is gone: nobody ran the study at the last looks."""

    def __init__(self) -> None:
        self._away: int | None = None  # looks since somebody ran it; None if nobody has

    def look(self, owner: str | None) -> None:
        """Take who runs the study now; None if nobody does."""
        if owner is not None:
            self._away = 0
        elif self._away is not None:
            self._away += 1

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return (self._away or 0) >= _AWAY


def is_over(state: State) -> bool:
    """Whether the budget is used up or the study was stopped by its rule, and nothing runs."""
    status = state["status"]
    is_done = status["stopped"] is not None or status["finished"] >= status["budget_trials"]
    return is_done and not status["counts"].get("RUNNING")


def _headline(status: State, owner: str | None) -> Text:
    text = Text(
        f"{visible(status['name'])}: {status['finished']:,} of {status['budget_trials']:,} trials", style="bold"
    )
    running = "RUNNING" if owner else "RUNNING left behind"
    shown = {"COMPLETE": "COMPLETE", "PRUNED": "PRUNED", "FAIL": "FAIL", "RUNNING": running, "WAITING": "WAITING"}
    states = [f"{status['counts'].get(state, 0):,} {words}" for state, words in shown.items()]
    text.append(f"  {', '.join(each for each in states if not each.startswith('0 '))}", style="not bold")
    return text


def _bar(status: State) -> Table:
    grid = Table.grid()  # a bar alone ends no line
    grid.add_row(ProgressBar(total=max(status["budget_trials"], 1), completed=status["finished"], width=60))
    return grid


def _best(state: State) -> Text:
    status, best = state["status"], state["status"]["best"]
    if parent_of(status["name"]) is not None:
        return Text(visible(linked_words(status["name"])), style="dim")
    if best is None:
        return Text(visible(f"{state['without_best']} yet"), style="dim")
    values = ", ".join(f"{metric} {metric_figure(value)}" for metric, value in best["values"].items())
    front = "" if state["front_size"] is None else f"{state['front_size']} on the Pareto front; "
    text = Text(visible(f"{front}best: {values} ({_where(best)})"), style="green")
    return text.append(f"  {visible(shown_params(best['params']))}", style="dim")


def _where(best: State) -> str:
    if "trainings" not in best:
        return f"trial {best['number']}"
    return f"mean of trials {', '.join(map(str, best['trainings']))}"


def _owner(state: State, owner: str | None) -> Text:
    status = state["status"]
    lease = status["lease"]
    lost = f"process {lease['pid']} on {lease['host']}" if lease is not None and lease["is_free"] else None
    text = Text(visible(f"run by {owner}") if owner else "nobody runs it right now", style="" if owner else "yellow")
    if lost:
        text.append(f": {visible(lost)} was killed or lost, and the next run takes over at once")
    text.append(f"{'; it ran for' if lost else ','} {rough_duration(status['elapsed_seconds'])} so far")
    if owner and state["seconds_left"] is not None:
        text.append(f", {estimated_duration(state['seconds_left'])} left")
    if status["stopped"] is not None:
        text.append(f"\n{visible(why_stopped(status['stopped']))}", style="green")
    for reason, count in status["reasons"].items():
        if reason in ("completed", "pruned"):
            continue
        words = visible(f"{count:,} {reason.replace('_', ' ')}: {REASONS.get(reason, reason)}")
        text.append(f"\n{words}", style="yellow")
    return text


def _begun(status: State, trials: Sequence[State], running: str) -> Table:
    rows = TrialRows(status["objective"], with_device=True)
    paused = {each["number"] for each in status["paused"]}
    for trial in trials:
        waits = "paused" if trial["number"] in paused else "parked"
        words = waits if trial["state"] == "WAITING" else running
        newest = trial["intermediate"][-1][1] if trial["intermediate"] else None
        speed = trial["epoch_seconds"]
        rows.add(
            trial["number"],
            trial["epochs"],
            int(trial["budget_epochs"] or 0),
            None if newest is None else metric_figure(newest),
            words or ("" if speed is None else epoch_speed(speed)),
            "" if words else trial["device"] or "",
            shown_params(trial["params"]),
        )
    return rows.table


def _ended(status: State, trial: State) -> Text:
    value = "" if trial["value"] is None else f", {status['objective']} {metric_figure(trial['value'])}"
    when = f"{datetime.fromisoformat(trial['ended']).astimezone():%H:%M:%S} " if trial["ended"] else ""
    reason = (trial["reason"] or trial["state"].lower()).replace("_", " ")
    best = " (the best)" if status["best"] is not None and status["best"]["number"] == trial["number"] else ""
    words = visible(f"{when}trial {trial['number']}: {reason}{value}{best}")
    return Text(words, style=_STYLES.get(trial["state"], ""))
