"""What `cifar-tune stop` prints: who has parked a study, how it stands, and how it goes on."""

from collections.abc import Sequence

from cifar_tune.optuna_questions import states_of_trials
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import naming_damage
from cifar_tune.service.desk import Desk
from cifar_tune.service.refusals import ConflictError
from cifar_tune.storage.linked import parent_of
from cifar_tune.study.parking import Parked


def stopped_lines(desk: Desk, name: str) -> list[str]:
    """Stop a study by its name, through a desk, and say in lines for stdout what comes of it."""
    try:
        stopped = desk.stop(name)
    except ConflictError:
        return [f"nobody runs {name}"]
    lines = [f"{each} is asked to park {name}" for each in stopped.asked]
    return [*lines, f"{name} is paused; go on with: cifar-tune resume {name}"] if stopped.is_paused else lines


def stop_lines(storage: BatchStorage, name: str, given: str, parked: Sequence[Parked], is_submitted: bool) -> list[str]:
    """The lines for stdout.

    Args:
        storage: that holds the study.
        name: of the study.
        given: what the command was given for it: a file, or the name.
        parked: the runs that have ended.
        is_submitted: whether it was submitted, and is paused now.

    Raises:
        DamagedError: the states of its trials make no sense.
    """
    lines = [_ended(each) for each in parked] or [f"nobody runs {name}"]
    lines.append(f"{name}: {_counts(storage, name) or 'no trials'}")
    if is_submitted:
        return [*lines, f"it is paused; go on with: cifar-tune resume {name}"]
    if not parked:
        return lines
    if all(parent_of(each.study) for each in parked):
        return [*lines, f"go on with: cifar-tune finalize {name}"]
    return [*lines, f"go on with the same command, or with: cifar-tune run {given}"]


def _ended(each: Parked) -> str:
    if each.has_answered:
        return f"{each.owner} has parked {each.study}"
    return f"{each.owner} died without an answer; {each.study} goes on at its checkpoints"


def _counts(storage: BatchStorage, name: str) -> str:
    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        return ""
    with naming_damage(name):
        states = states_of_trials(storage.engine, study)
    return ", ".join(sorted(f"{count} {state.name}" for state, count in states.items()))
