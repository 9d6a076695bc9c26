"""What `run` prints at its end: what was found, and what to do next."""

import shlex
from collections.abc import Sequence

from cifar_tune.storage.openings import times
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
    if outcome.record is None and outcome.has_begun:
        return [f"{spec.name}: {_ENDINGS[outcome.ending]}; the database is away", f"go on with: {again}"]
    if outcome.record is None:
        return [f"stopped before the study began; start it with: {again}"]
    record = outcome.record
    counts = ", ".join(f"{count} {state}" for state, count in sorted(record.counts.items()))
    lines = [f"{spec.name}: {_ENDINGS[outcome.ending]} ({counts or 'no trials'})"]
    if outcome.ending == "stopped" and record.stopped is not None:
        lines.append(f"stop: {record.stopped['words']}")
    best = record.best
    if best is not None:
        if spec.has_several_objectives:
            lines.append(f"front={','.join(str(trial.number) for trial in record.front)}")
        lines.append(f"best_trial={best.number}")
        lines += [
            f"{each.metric}={exactly(each.metric, value)}"
            for each, value in zip(spec.objectives, best.values, strict=True)
        ]
        lines += [f"{name}={value}" for name, value in best.searched.items()]
    if record.openings:
        lines.append(f"the test set was opened {times(record.openings)}")
    if outcome.ending == "elsewhere":
        lines.append(f"if it does not end them, take them over with: {again}")
    if outcome.ending == "stopped":
        more = spec.budget.trials + 50
        lines.append(f"go on with: {shlex.join(['cifar-tune', *_without(given, '--trials'), '--trials', str(more)])}")
    if outcome.ending in ("interrupted", "timeout"):
        longer = [*_without(given, "--timeout"), "--timeout", "LONGER"]
        again = shlex.join(["cifar-tune", *longer]) if outcome.ending == "timeout" else again
        lines.append(f"go on with: {again}")
    if best is not None:
        lines.append(f"report with: cifar-tune export {spec.name}")
    return lines


def _without(arguments: Sequence[str], option: str) -> list[str]:
    is_value = [False, *(argument == option for argument in arguments)]
    return [
        argument
        for argument, follows in zip(arguments, is_value, strict=False)
        if not follows and argument.partition("=")[0] != option
    ]
