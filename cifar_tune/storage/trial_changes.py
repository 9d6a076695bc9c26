"""Brings a trial in the database from the state in which it was last written to its state in memory."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import BatchStorage


def write_changes(backend: BatchStorage, trial_id: int, before: FrozenTrial, after: FrozenTrial) -> None:
    """Write what is new in `after`; its end is written last, since nothing can be added to a finished trial.

    Args:
        backend: the database.
        trial_id: the trial's id there.
        before: the trial as the database has it.
        after: the trial as it shall be.
    """
    state = before.state
    if state == TrialState.WAITING and after.state != TrialState.WAITING:
        state = TrialState.RUNNING  # on the way to any other state
        backend.set_trial_state_values(trial_id, state)
    for name, value in after.params.items():
        if name not in before.params:
            distribution = after.distributions[name]
            backend.set_trial_param(trial_id, name, distribution.to_internal_repr(value), distribution)
    there = before.intermediate_values
    reports = {step: value for step, value in after.intermediate_values.items() if step not in there}
    user, system = _new(before.user_attrs, after.user_attrs), _new(before.system_attrs, after.system_attrs)
    if reports or user or system:
        backend.add_to_trial(trial_id, reports, user, system)
    if after.state != state:
        backend.set_trial_state_values(trial_id, after.state, after.values if after.state.is_finished() else None)


def _new(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Unchanged values are the same objects in memory, so long histories are rarely compared."""
    return {
        key: value
        for key, value in after.items()
        if key not in before or (before[key] is not value and before[key] != value)
    }
