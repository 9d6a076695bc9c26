"""Why trials ended before their last epoch, and at which epoch pruned ones were stopped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cifar_tune.errors import last_line
from cifar_tune.reports.report import Report
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.records import TrialRecord

_MOST_CAUSES = 20


@dataclass(frozen=True)
class Cause:
    """Trials that an error ended with the same last line.

    Attributes:
        line: that line.
        text: the whole error of the first of them.
        trials: all of them.
    """

    line: str
    text: str
    trials: Sequence[TrialRecord]


@dataclass(frozen=True)
class Ending:
    """Trials that ended for one reason; `causes` are empty where no error was recorded."""

    reason: str
    words: str
    trials: Sequence[TrialRecord]
    causes: Sequence[Cause]
    more_causes: int


def endings(report: Report) -> list[Ending]:
    """Every reason but completion, the most frequent causes of each first."""
    found = []
    for reason, words in REASONS.items():
        trials = [trial for trial in report.record.trials if trial.reason == reason]
        if reason != "completed" and trials:
            causes = _causes(trials)
            found.append(
                Ending(reason.replace("_", " "), words, trials, causes[:_MOST_CAUSES], len(causes[_MOST_CAUSES:]))
            )
    return found


def pruned_epochs(report: Report) -> Mapping[int, int]:
    """After which epoch the pruner stopped how many trials."""
    counts = Counter(trial.epochs for trial in report.record.trials if trial.reason == "pruned")
    return dict(sorted(counts.items()))


def _causes(trials: Sequence[TrialRecord]) -> list[Cause]:
    by_line: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.error:
            by_line.setdefault(last_line(trial.error)[:300], []).append(trial)
    causes = [Cause(line, found[0].error or "", found) for line, found in by_line.items()]
    return sorted(causes, key=lambda cause: -len(cause.trials))
