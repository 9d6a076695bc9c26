"""One study while it changes, in plain values: what whoever watches it needs, on this machine or over HTTP."""

from typing import Any

from cifar_tune.errors import last_line
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.overview import Overview
from cifar_tune.storage.records import TrialRecord
from cifar_tune.study.budget import most_trials, within_budget
from cifar_tune.study.status import described

MOST_BEGUN = 64
"""Trials that run or wait, of which all is told."""

_LONG = frozenset({"test_openings", "test_openings_elsewhere", "failed", "front"})
"""Keys of the status that are long and rarely change: whoever wants them asks for the study itself."""

_FEWEST = 3
"""Trials that have ended, before anybody guesses how long the others take."""


def live(storage: BatchStorage, seen: Overview) -> dict[str, Any]:
    """The status of a study, the trials that have begun and those that ended last.

    Args:
        storage: that holds it.
        seen: the study, with as many of the trials that ended last as are wanted.
    """
    status = described(storage, seen)
    if status["lease"] is not None:
        status["lease"]["seconds_left"] = None  # else there would be something new each second
    begun = [trial for trial in seen.unfinished if trial.config and not trial.is_drawn]
    return {
        "status": {key: each for key, each in status.items() if key not in _LONG},
        "front_size": len(seen.front) if seen.spec.has_several_objectives else None,
        "without_best": None if seen.best is not None else seen.without_best_words,
        "seconds_left": _seconds_left(seen),
        "begun": len(begun),
        "running": [{**told_trial(trial), "epoch_seconds": _last_seconds(trial)} for trial in begun[:MOST_BEGUN]],
        "ended": [told_trial(trial) for trial in seen.last],
    }


def told_trial(trial: TrialRecord) -> dict[str, Any]:
    """What people are told of one trial, with the objective after each of its epochs."""
    return {
        "number": trial.number,
        "state": trial.state,
        "reason": trial.reason,
        "error": last_line(trial.error) or None,
        "value": trial.value,
        "values": list(trial.values),
        "feasible": trial.feasible,
        "source": trial.source,
        "params": dict(trial.searched),
        "seed": trial.config.get("seed"),
        "intermediate": [[step, value] for step, value in sorted(trial.intermediate.items())],
        "epochs": trial.epochs,
        "budget_epochs": trial.config.get("epochs"),
        "seconds": trial.seconds,
        "device": trial.device,
        "started": None if trial.started is None else trial.started.astimezone().isoformat(),
        "ended": None if trial.ended is None else trial.ended.astimezone().isoformat(),
    }


def _seconds_left(seen: Overview) -> float | None:
    """How long the rest takes, as far as one can tell; None where one cannot, or nothing is left."""
    left = most_trials(seen.spec, seen.strangers) - seen.finished
    if seen.finished < _FEWEST or left <= 0:
        return None
    return within_budget(seen.spec, seen.elapsed_seconds / seen.finished * left, seen.elapsed_seconds)


def _last_seconds(trial: TrialRecord) -> float | None:
    seconds = trial.history.get("seconds", ())
    return seconds[-1] if seconds else None
