"""Constraints as trials of Optuna hold them."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.storage import attributes
from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.settings import SamplerSpec

_DASHBOARD_KEY = "constraints"
_PREFIX = "constraints:"  # Optuna's own, of `Trial.set_constraint`


def is_repetition(trial: FrozenTrial) -> bool:
    """Whether it took over the result of an earlier trial: it has no checkpoint, and shows nothing new."""
    return trial.user_attrs.get(attributes.REASON) == "repeated"


def was_finished_elsewhere(trial: FrozenTrial) -> bool:
    """Whether another program gave a trial its value: then its configuration is unknown."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and attributes.CONFIG not in trial.user_attrs


def is_feasible(trial: FrozenTrial, constraints: Sequence[Constraint]) -> bool | None:
    """Whether a trial keeps all constraints; None as long as it has not ended.

    Judged by the violations that are stored with it, so that samplers, dashboard and reports agree.
    """
    if not constraints:
        return True
    stored = trial.constraints
    if not stored:
        return False if trial.state.is_finished() else None
    return all(violation <= 0 for violation in stored.values())


def violation_attributes(violations: Mapping[str, float], sampler: SamplerSpec) -> dict[str, Any]:
    """The same as system attributes of a trial that is stored whole; see `write_violations`."""
    found: dict[str, Any] = {f"{_PREFIX}{name}": violation for name, violation in violations.items()}
    if violations and sampler.name != "gp":
        found[_DASHBOARD_KEY] = list(violations.values())
    return found


def without_violations(system_attrs: Mapping[str, Any]) -> dict[str, Any]:
    """System attributes of a trial but those that say how far it breaks constraints."""
    return {key: value for key, value in system_attrs.items() if key != _DASHBOARD_KEY and not key.startswith(_PREFIX)}


def write_violations(trial: Trial, violations: Mapping[str, float], sampler: SamplerSpec) -> None:
    """Store how far a trial breaks each constraint, before it is told; what was stored already stays.

    optuna-dashboard 0.21 reads a list of Optuna 4 instead. Beside the named violations it counts each of them twice,
    which changes no order; but a Gaussian process would be fitted to each of them twice, and trust them too much.
    """
    if not violations:
        return
    stored = trial.constraints
    for name, violation in violations.items():
        if name not in stored:
            trial.set_constraint(name, violation)
    if sampler.name != "gp":
        trial.storage.set_trial_system_attr(trial._trial_id, _DASHBOARD_KEY, list(violations.values()))
