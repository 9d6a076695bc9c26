"""Links from numbers to trials, and which trials the page must list so that none of them leads nowhere."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from cifar_tune.reports.report import Report
from cifar_tune.storage.records import TrialRecord

MOST_ROWS = 1000
"""Trials that the page lists. All of them are in trials.csv."""

_BEST = 300


class Anchors:
    """Makes links to trials, and remembers which ones."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._linked: set[int] = set()

    def to(self, trial: TrialRecord | int) -> str:
        """The address of a trial's row."""
        number = trial if isinstance(trial, int) else trial.number
        self._linked.add(number)
        return f"#trial-{number}"

    def link(self, trial: TrialRecord | int, words: str | None = None) -> Markup:
        """A link to a trial's row; without `words` its number."""
        number = trial if isinstance(trial, int) else trial.number
        return Markup('<a href="{}">{}</a>').format(self.to(number), number if words is None else words)

    def links(self, trials: Iterable[TrialRecord]) -> Markup:
        """The numbers of several trials."""
        return Markup(", ").join(self.link(trial) for trial in trials)

    def rows(self) -> Sequence[TrialRecord]:
        """The trials to list, by number: all of a short study; else those linked to, the best, and others evenly."""
        trials = self._report.record.trials
        if len(trials) <= MOST_ROWS:
            return trials
        wanted = self._linked | {trial.number for trial in self._report.completed[:_BEST]}
        others = [trial for trial in trials if trial.number not in wanted]
        room = MOST_ROWS - len(wanted)
        if room > 0:
            wanted |= {others[index * len(others) // room].number for index in range(room)}
        return [trial for trial in trials if trial.number in wanted]
