"""`cifar-tune watch`: looks at a study in its database again and again, and draws a frame each time."""

import sys
import time
from io import StringIO

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from cifar_tune.cli.find_study import find_stored
from cifar_tune.cli.progress import TrialRows
from cifar_tune.errors import CheckError, UserError
from cifar_tune.storage.attributes import REASONS, why_stopped
from cifar_tune.storage.lease import held_lease
from cifar_tune.storage.linked import linked_words, parent_of
from cifar_tune.storage.opened_file import DatabaseGoneError
from cifar_tune.storage.overview import Overview, overview
from cifar_tune.storage.rdb import close, own_words
from cifar_tune.storage.records import TrialRecord
from cifar_tune.storage.urls import without_secrets
from cifar_tune.streams import drawing_stream, is_read
from cifar_tune.study.budget import most_trials, within_budget
from cifar_tune.visible import visible
from cifar_tune.wording import counted, epoch_speed, estimated_duration, metric_figure, rough_duration, shown_params

_LAST = 5
_MOST_BEGUN = 16
_STYLES = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}


def frame(record: Overview, owner: str | None, trouble: str = "", lost: str | None = None) -> Group:
    """States, best, running and parked trials with their epochs, those that ended last, and who runs the study.

    Args:
        record: the study.
        owner: the process that runs it; None if none does.
        trouble: with reading it.
        lost: the process that ran it and was killed, or has not been heard of.
    """
    parts: list[Text | Table] = [_headline(record, owner), _bar(record), _best(record), _owner(record, owner, lost)]
    begun = [trial for trial in record.unfinished if trial.config and not trial.is_drawn]
    if begun:
        parts.append(_begun(record, begun[:_MOST_BEGUN], "" if owner else "left behind"))
    if len(begun) > _MOST_BEGUN:
        parts.append(Text(f"and {counted(len(begun) - _MOST_BEGUN, 'trial')} more that have not ended", style="dim"))
    parts += [_ended(record, trial) for trial in record.last]
    if trouble:
        parts.append(Text(visible(trouble), style="red"))
    return Group(*parts)


def is_over(record: Overview) -> bool:
    """Whether the budget is used up or the study was stopped by its rule, and nothing runs."""
    is_done = record.stopped is not None or record.finished >= _most(record)
    return is_done and not record.counts.get("RUNNING")


def _most(record: Overview) -> int:
    return most_trials(record.spec, record.strangers)


def _headline(record: Overview, owner: str | None) -> Text:
    text = Text(f"{visible(record.name)}: {record.finished:,} of {_most(record):,} trials", style="bold")
    running = "RUNNING" if owner else "RUNNING left behind"
    shown = {"COMPLETE": "COMPLETE", "PRUNED": "PRUNED", "FAIL": "FAIL", "RUNNING": running, "WAITING": "WAITING"}
    states = [f"{record.counts.get(state, 0):,} {words}" for state, words in shown.items()]
    text.append(f"  {', '.join(each for each in states if not each.startswith('0 '))}", style="not bold")
    return text


def _bar(record: Overview) -> Table:
    grid = Table.grid()  # a bar alone ends no line
    grid.add_row(ProgressBar(total=max(_most(record), 1), completed=record.finished, width=60))
    return grid


def _best(record: Overview) -> Text:
    best = record.best
    if parent_of(record.name) is not None:
        return Text(visible(linked_words(record.name)), style="dim")
    if best is None:
        return Text(visible(f"{record.without_best_words} yet"), style="dim")
    values = ", ".join(
        f"{objective.metric} {metric_figure(value)}"
        for objective, value in zip(record.spec.objectives, best.values, strict=True)
    )
    front = f"{len(record.front)} on the Pareto front; " if record.spec.has_several_objectives else ""
    text = Text(f"{front}best: {values} ({_where(best)})", style="green")
    return text.append(f"  {visible(shown_params(best.searched))}", style="dim")


def _where(best: TrialRecord) -> str:
    if best.repeated is None:
        return f"trial {best.number}"
    return f"mean of trials {', '.join(map(str, best.repeated.numbers))}"


def _owner(record: Overview, owner: str | None, lost: str | None) -> Text:
    text = Text(visible(f"run by {owner}") if owner else "nobody runs it right now", style="" if owner else "yellow")
    if lost:
        text.append(f": {visible(lost)} was killed or lost, and the next run takes over at once")
    text.append(f"{'; it ran for' if lost else ','} {rough_duration(record.elapsed_seconds)} so far")
    left = _most(record) - record.finished
    if owner and record.finished >= 3 and left > 0:
        seconds = within_budget(record.spec, record.elapsed_seconds / record.finished * left, record.elapsed_seconds)
        text.append(f", {estimated_duration(seconds)} left")
    if record.stopped is not None:
        why = visible(why_stopped(record.stopped))
        text.append(f"\n{why}", style="green")
    for reason, count in record.reasons.items():
        if reason in ("completed", "pruned"):
            continue
        words = visible(f"{count:,} {reason.replace('_', ' ')}: {REASONS[reason]}")
        text.append(f"\n{words}", style="yellow")
    return text


def _begun(record: Overview, trials: list[TrialRecord], running: str) -> Table:
    rows = TrialRows(record.spec.objective.metric, with_device=True)
    for trial in trials:
        waits = "parked" if trial.paused is None else "paused"
        words = waits if trial.state == "WAITING" else running
        newest = trial.intermediate[max(trial.intermediate)] if trial.intermediate else None
        seconds = trial.history.get("seconds", ())
        rows.add(
            trial.number,
            trial.epochs,
            int(trial.config.get("epochs", 0)),
            None if newest is None else metric_figure(newest),
            words or (epoch_speed(seconds[-1]) if seconds else ""),
            "" if words else trial.device or "",
            shown_params(trial.searched),
        )
    return rows.table


def _ended(record: Overview, trial: TrialRecord) -> Text:
    value = "" if trial.value is None else f", {record.spec.objective.metric} {metric_figure(trial.value)}"
    when = f"{trial.ended:%H:%M:%S} " if trial.ended else ""
    reason = (trial.reason or trial.state.lower()).replace("_", " ")
    best = " (the best)" if record.best is not None and record.best.number == trial.number else ""
    words = visible(f"{when}trial {trial.number}: {reason}{value}{best}")
    return Text(words, style=_STYLES.get(trial.state, ""))


_SHARE = 4
"""Reading takes at most one part in this many of the time, however long the study."""

_AWAY = 3
"""Looks in a row at which nobody ran the study, after which a run that was seen counts as ended."""


class Watcher:
    """What is known of a study: the newest record, who runs it or was lost, and what went wrong with reading it."""

    def __init__(self, study: str, url: URL) -> None:
        self._url = url
        self._name, self._storage = find_stored(study, url)
        self._away: int | None = None  # looks since somebody ran it; None if nobody has
        self.record: Overview | None = None
        self.owner: str | None = None
        self.lost: str | None = None
        self.trouble = ""

    @property
    def storage(self) -> RDBStorage:
        """To be closed in the end."""
        return self._storage

    def look(self) -> float:
        """Read the study; return how many seconds that took. A database that is away, or silent, is `trouble`."""
        began = time.monotonic()
        try:
            self.record = self._read()
            held = held_lease(self._storage.engine, self._name)
            self.owner = None if held is None or held.is_free else str(held.owner)
            self.lost = str(held.owner) if held is not None and held.is_free else None
            self.trouble = ""
            if self.owner is not None:
                self._away = 0
            elif self._away is not None:
                self._away += 1
        except (SQLAlchemyError, StorageInternalError, DatabaseGoneError) as error:
            words = str(error) if isinstance(error, DatabaseGoneError) else own_words(error.__cause__ or error)
            self.trouble = f"the database does not answer ({without_secrets(words, self._url)}); trying again"
        return time.monotonic() - began

    def _read(self) -> Overview:
        try:
            return overview(self._storage, self._name, _LAST)
        except UserError as error:
            if self.record is None:
                raise
            raise CheckError(f"the study {self._name!r} was deleted or renamed while it was watched") from error

    @property
    def is_over(self) -> bool:
        """Whether the study has ended: its budget is used up, or the run that was seen is gone."""
        if self.record is None or self.trouble or self.owner is not None:
            return False
        return is_over(self.record) or (self._away or 0) >= _AWAY

    def render(self) -> Group:
        """The newest frame."""
        if self.record is None:
            return Group(Text(visible(self.trouble)))
        return frame(self.record, self.owner, self.trouble, self.lost)


def watch_study(study: str, url: URL, seconds: float, once: bool) -> None:
    """Show frames on stdout: a live view in a terminal; where it is piped, a frame whenever something changed.

    Raises:
        UserError: if there is no such study.
        CheckError: with `once`, if the database does not answer; or if the study is deleted or renamed meanwhile.
    """
    watcher = Watcher(study, url)
    try:
        took = watcher.look()
        if once and watcher.record is None:
            raise CheckError(watcher.trouble)
        console = Console(file=drawing_stream(sys.stdout))
        if once:
            console.print(watcher.render())
        elif sys.stdout.isatty():
            with Live(watcher.render(), console=console, auto_refresh=False, screen=False) as live:
                while not watcher.is_over and is_read():
                    time.sleep(max(seconds, _SHARE * took))
                    took = watcher.look()
                    live.update(watcher.render(), refresh=True)
        else:
            _print_changes(watcher, console, seconds, took)
    finally:
        close(watcher.storage)


def _print_changes(watcher: Watcher, console: Console, seconds: float, took: float) -> None:
    before = ""
    while True:
        text = _as_text(watcher.render(), console.width)
        if text != before:
            console.print(text, highlight=False, markup=False)
            before = text
        if watcher.is_over or not is_read():
            return
        time.sleep(max(seconds, _SHARE * took))
        took = watcher.look()


def _as_text(shown: Group, width: int) -> str:
    buffer = StringIO()
    Console(file=buffer, width=width).print(shown)
    return buffer.getvalue()
