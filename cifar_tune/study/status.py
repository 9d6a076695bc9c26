"""One study as it stands, in plain values: what `status --json`, and whoever asks over HTTP, is told."""

from collections.abc import Callable
from typing import Any

from cifar_tune.errors import DamagedError, UserError, last_line
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.lease import Held, held_lease
from cifar_tune.storage.openings import elsewhere_shown
from cifar_tune.storage.overview import Overview
from cifar_tune.storage.records import TrialRecord
from cifar_tune.storage.stored_studies import ForeignStudyError
from cifar_tune.study.budget import most_trials
from cifar_tune.study.promoting import rung_of


def described(storage: BatchStorage, seen: Overview) -> dict[str, Any]:
    """The study as `cifar-tune status --json` has it; the help of that command says what the keys mean."""
    held = held_lease(storage.engine, seen.name)
    waiting = [trial for trial in seen.unfinished if trial.state == "WAITING"]
    return {
        "name": seen.name,
        "objective": seen.spec.objective.metric,
        "objectives": [objective.metric for objective in seen.spec.objectives],
        "constraints": [str(constraint) for constraint in seen.spec.constraints],
        "budget_trials": most_trials(seen.spec, seen.strangers),
        "trainings": seen.spec.trainings,
        "incomplete": seen.incomplete,
        "finished": seen.finished,
        "counts": dict(seen.counts),
        "reasons": dict(seen.reasons),
        "stopped": None if seen.stopped is None else dict(seen.stopped),
        "owner": None if held is None or held.is_free else str(held.owner),
        "lease": None if held is None else _lease(held),
        "best": None if seen.best is None else _best(seen, seen.best),
        "front": [_best(seen, trial) for trial in seen.front] if seen.spec.has_several_objectives else None,
        "test_openings": [opening.shown() for opening in seen.openings],
        "test_openings_elsewhere": elsewhere_shown(seen.elsewhere),
        "running": [_progress(trial) for trial in seen.unfinished if trial.state == "RUNNING"],
        "parked": [
            _progress(trial) for trial in waiting if not _is_new(trial) and not trial.is_drawn and trial.paused is None
        ],
        "paused": [
            {**_progress(trial), "rung": rung_of(trial.paused, seen.spec)}
            for trial in waiting
            if trial.paused is not None
        ],
        "drawn": [trial.number for trial in waiting if trial.is_drawn],
        "enqueued": [trial.number for trial in waiting if _is_new(trial)],
        "evolved_from": seen.evolved,
        "failed": [
            {"number": number, "error": last_line(error) or "no reason is known"}
            for number, error in seen.failed.items()
        ],
        "elapsed_seconds": seen.elapsed_seconds,
        "data": dict(seen.data),
    }


def described_or_why(name: str, describe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `describe` says of a study; of one that cannot be read its name and why, as `status --json` has it."""
    try:
        return describe()
    except ForeignStudyError:
        return {"name": name, "foreign": True}
    except UserError as error:  # another version wrote it, or it was deleted a moment ago
        return {"name": name, "unreadable": str(error)}
    except DamagedError as error:
        return {"name": name, "damaged": str(error)}


def _lease(held: Held) -> dict[str, Any]:
    return {
        "host": held.owner.machine,
        "pid": held.owner.pid,
        "seconds_left": round(max(0.0, held.seconds), 1),
        "is_free": held.is_free,
    }


def _best(seen: Overview, trial: TrialRecord) -> dict[str, Any]:
    names = [objective.metric for objective in seen.spec.objectives]
    values = dict(zip(names, trial.values, strict=True))
    found: dict[str, Any] = {
        "number": trial.number,
        "value": trial.value,
        "values": values,
        "params": dict(trial.searched),
    }
    if trial.repeated is not None:  # the values are means
        errors = zip(names, trial.repeated.standard_errors, strict=True)
        found |= {"trainings": list(trial.repeated.numbers), "standard_errors": dict(errors)}
    return found


def _is_new(trial: TrialRecord) -> bool:
    """Whether it was enqueued and has not begun yet."""
    return trial.source != "sampler" and not trial.config


def _progress(trial: TrialRecord) -> dict[str, Any]:
    last = max(trial.intermediate, default=None)
    return {
        "number": trial.number,
        "epoch": trial.epochs,
        "epochs": trial.config.get("epochs"),
        "value": None if last is None else trial.intermediate[last],
    }
