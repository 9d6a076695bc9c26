"""Brings a trial in the database from the state in which it was last written to its state in memory."""

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState


def write_changes(backend: BaseStorage, trial_id: int, before: FrozenTrial, after: FrozenTrial) -> None:
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
    for step, reported in after.intermediate_values.items():
        if step not in before.intermediate_values:
            backend.set_trial_intermediate_value(trial_id, step, reported)
    for key, attribute in after.user_attrs.items():
        if _is_new(key, attribute, before.user_attrs):
            backend.set_trial_user_attr(trial_id, key, attribute)
    for key, attribute in after.system_attrs.items():
        if _is_new(key, attribute, before.system_attrs):
            backend.set_trial_system_attr(trial_id, key, attribute)
    if after.state != state:
        backend.set_trial_state_values(trial_id, after.state, after.values if after.state.is_finished() else None)


def _is_new(key: str, value: object, before: dict[str, object]) -> bool:
    """Unchanged values are the same objects in memory, so long histories are rarely compared."""
    return key not in before or (before[key] is not value and before[key] != value)
