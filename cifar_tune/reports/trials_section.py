"""The section of `summary.md` on the trials: how many ended how, and the best ones."""

from collections import Counter

from cifar_tune.errors import last_line
from cifar_tune.markdown import code, table
from cifar_tune.reports.findings import sparing_words
from cifar_tune.reports.report import Report
from cifar_tune.reports.summary_json import STATES
from cifar_tune.reports.trial_markdown import origin_words
from cifar_tune.reports.trust import repeats_words
from cifar_tune.storage.attributes import REASONS
from cifar_tune.storage.records import TrialRecord
from cifar_tune.wording import counted, duration, figure

_TOP = 10
_ERRORS = 5


def _transferred(report: Report) -> list[str]:
    """What became of the configurations of an earlier study; nothing where there are none."""
    trials = [trial for trial in report.record.trials if trial.transferred_from is not None]
    if not trials:
        return []
    rows = [
        (
            str(trial.number),
            origin_words(trial.transferred_from),
            trial.state,
            "" if trial.value is None else report.scale.shown(trial.value),
        )
        for trial in trials
        if trial.transferred_from is not None
    ]
    return [
        "These trials tried the best configurations of an earlier study (`transfer_from`). What they gave there is not "
        "used here.",
        table(("trial", "configuration of", "", code(report.record.spec.objective.metric)), rows),
    ]


def trials_section(report: Report) -> list[str]:
    """The paragraphs and tables of the section."""
    record = report.record
    states = ", ".join(f"{record.counts[state]:,} {state}" for state in STATES if record.counts[state]) or "none"
    spent = sum(trial.seconds for trial in record.trials)
    given = Counter(trial.source for trial in record.trials if trial.source != "sampler")
    sources = "".join(
        f" {count:,} of the trials did not come from the sampler: {code(source)}." for source, count in given.items()
    )
    parts = [
        "## Trials",
        f"{counted(len(record.trials), 'trial')}: {states}. Training took {duration(spent)} in all, the runs "
        f"{duration(record.elapsed_seconds)} of wall clock. All of them: [trials.csv](trials.csv), and epoch by epoch: "
        f"[epochs.csv](epochs.csv).{sources}",
    ]
    if words := repeats_words(report):
        parts.append(words)
    parts += _transferred(report)
    if record.stopped is not None:
        by = "was stopped by its rule," if record.stopped["rule"] else "ended"
        parts.append(f"The study {by} before its budget was used up: {record.stopped['words']}.")
    elif record.ended_early:
        parts.append("Every combination of the grid was tried.")
    if record.spec.constraints:
        parts.append(f"Constraints: {report.constraint_words}. {len(report.ranked):,} of the {len(report.completed):,} "
                     "completed trials keep them.")  # fmt: skip
    if report.reasons:
        parts.append(table(("ended", "trials", ""), [(code(reason), f"{report.reasons[reason]:,}", words)
                           for reason, words in endings_in_words(report)], right=(1,)))  # fmt: skip
    if sparing := sparing_words(report):
        parts.append(f"{sparing}.")
    if early := report.early_epochs:
        marks = ", ".join(f"{each.correlation:.2f} after epoch {each.epoch}" for each in early.agreements)
        metric = code(record.spec.objective.metric)
        parts.append(f"Rank correlation of {metric} with that after the last of {early.epochs} "
                     f"epochs, over {early.trials:,} completed trials: {marks}.")  # fmt: skip
    errors = [trial for trial in record.trials if trial.error]
    if errors:
        shown = "\n".join(f"- trial {trial.number}: {code(last_line(trial.error)[:200])}" for trial in errors[:_ERRORS])
        more = f"\n- and {len(errors) - _ERRORS:,} more" if len(errors) > _ERRORS else ""
        parts += ["Errors:", shown + more]
    if report.ranked and not report.is_linked:
        names = list(record.spec.search_space)
        rows = [_row(report, rank, trial, names) for rank, trial in enumerate(report.ranked[:_TOP], start=1)]
        error = () if record.spec.repeats is None else ("standard error",)
        header = ("", "trial", record.spec.objective.metric, *error, "epochs", "time", "parameters", *names)
        count = len(rows)
        which = f" by {record.spec.objective.metric}" if record.spec.has_several_objectives else ""
        heading = f"### The best {count} of {len(report.ranked):,}{which}" if count > 1 else "### The completed trial"
        parts += [heading, table(header, rows, right=range(len(header) - len(names)))]
    return parts


def _row(report: Report, rank: int, trial: TrialRecord, names: list[str]) -> list[str]:
    size = f"{trial.parameters:,}" if trial.parameters is not None else "-"
    value = [report.scale.shown(trial.value)]
    if trial.repeated is not None:
        value.append(report.scale.shown_error(trial.repeated.standard_errors[0]))
    fixed = [str(rank), str(trial.number), *value, str(trial.epochs), duration(trial.seconds)]
    return [*fixed, size, *(figure(trial.searched.get(name)) for name in names)]


def endings_in_words(report: Report) -> list[tuple[str, str]]:
    """The reasons for which trials of the study ended, each with its meaning."""
    return [(reason, words) for reason, words in REASONS.items() if report.reasons[reason]]
