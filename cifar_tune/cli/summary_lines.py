"""What `run` prints at its end: what was found, and what to do next."""

import shlex
from collections.abc import Iterator, Sequence

from cifar_tune.reports.guessing import no_better_than_guessing
from cifar_tune.storage.openings import times
from cifar_tune.storage.records import StudyRecord, TrialRecord
from cifar_tune.study.race_result import stored_result
from cifar_tune.study.run import Outcome
from cifar_tune.study_spec.metrics import exactly
from cifar_tune.study_spec.specification import StudySpec

_ENDINGS = {
    "budget": "the budget is used up",
    "elsewhere": "another program is running the last trials of the budget",
    "exhausted": "every combination was tried",
    "stopped": "stopped by its rule",
    "timeout": "the time is up; running trials are parked at their last epoch",
    "interrupted": "stopped on request; running trials are parked at their last epoch",
}


def outcome_lines(outcome: Outcome, spec: StudySpec, given: Sequence[str]) -> list[str]:
    """Result lines as key=value, then the commands that come next; `given` are the arguments of the one that ends."""
    again = shlex.join(["cifar-tune", *given])
    ending = _ending_words(outcome, spec)
    if outcome.record is None and outcome.has_begun:
        return [f"{spec.name}: {ending}; the database is away", f"go on with: {again}"]
    if outcome.record is None:
        return [f"stopped{_by(outcome)} before the study began; start it with: {again}"]
    record = outcome.record
    counts = ", ".join(f"{count} {state}" for state, count in sorted(record.counts.items()))
    lines = [f"{spec.name}: {ending} ({counts or 'no trials'})"]
    by = {"stopped": "stop", "exhausted": "repeats"}.get(outcome.ending)
    if by is not None and record.stopped is not None:
        lines.append(f"{by}: {record.stopped['words']}")
    lines += _best_lines(record, spec)
    lines += [f"note: {words}" for words in _notes(record, spec, outcome.ending)]
    if record.openings:
        lines.append(f"the test set was opened {times(record.openings)}")
    if outcome.ending == "elsewhere":
        lines.append(f"if it does not end them, take them over with: {again}")
    if outcome.ending == "stopped" and spec.stop is not None:
        more = spec.budget.trials + spec.stop.fewest_more
        lines.append(
            f"it can go on with more than the {spec.budget.trials:,} trials of its budget; {spec.stop.needs_words} "
            f"before it can stop the study again"
        )
        again = _with(given, "--trials", str(more))
    if outcome.ending == "timeout" and spec.budget.timeout is not None:
        lines.append("the time of all runs counts together, so it can go on with a longer one, such as twice as long")
        again = _with(given, "--timeout", as_given(2 * spec.budget.timeout))
    if outcome.ending in ("stopped", "timeout", "interrupted"):
        lines.append(f"go on with: {again}")
    if record.best is not None:
        lines.append(f"report with: cifar-tune export {spec.name}")
    return lines


def _ending_words(outcome: Outcome, spec: StudySpec) -> str:
    if outcome.ending == "exhausted" and spec.is_list:
        return "every configuration of the list was trained"
    if outcome.stopped_by is not None:
        return f"stopped{_by(outcome)}; running trials are parked at their last epoch"
    return _ENDINGS[outcome.ending]


def _by(outcome: Outcome) -> str:
    return "" if outcome.stopped_by is None else f" by {outcome.stopped_by}"


def _best_lines(record: StudyRecord, spec: StudySpec) -> list[str]:
    best = record.best
    if best is None:
        return []
    front = [f"front={','.join(str(trial.number) for trial in record.front)}"] if spec.has_several_objectives else []
    return [
        *front,
        f"best_trial={best.number}",
        *(
            f"{each.metric}={exactly(each.metric, value)}"
            for each, value in zip(spec.objectives, best.values, strict=True)
        ),
        *mean_lines(best, spec),
        *(f"{name}={value}" for name, value in best.searched.items()),
    ]


def _notes(record: StudyRecord, spec: StudySpec, ending: str) -> Iterator[str]:
    """What is to be known beside the best trial."""
    race = stored_result(record)
    if race is not None:
        yield f"trial {race.winner.trial} has won the race of finalize, so it is what best.yaml has"
    if guessing := no_better_than_guessing(record, race):
        yield guessing
    for first, trained in record.incomplete if ending == "budget" else ():
        have = "has" if trained == 1 else "have"
        yield (
            f"{trained} of the {spec.trainings} trainings of the configuration of trial {first} {have} completed, so "
            f"it is not ranked; with more trials it gets the others first"
        )


def as_given(seconds: float) -> str:
    """A duration as people give it to `--timeout`: `8h`, `90m` or `45s`."""
    unit, size = next((each for each in (("h", 3600), ("m", 60)) if seconds % each[1] == 0), ("s", 1))
    return f"{seconds / size:.10g}{unit}"


def _with(arguments: Sequence[str], option: str, value: str) -> str:
    return shlex.join(["cifar-tune", *_without(arguments, option), option, value])


def mean_lines(best: TrialRecord, spec: StudySpec) -> list[str]:
    """Of a mean over the trainings of a configuration: its standard error, and the trials; else nothing."""
    if best.repeated is None:
        return []
    errors = zip(spec.objectives, best.repeated.standard_errors, strict=True)
    return [
        *(f"{each.metric}_standard_error={error:.6g}" for each, error in errors),
        f"trainings={','.join(map(str, best.repeated.numbers))}",
    ]


def _without(arguments: Sequence[str], option: str) -> list[str]:
    is_value = [False, *(argument == option for argument in arguments)]
    return [
        argument
        for argument, follows in zip(arguments, is_value, strict=False)
        if not follows and argument.partition("=")[0] != option
    ]
