"""Constraints as trials of Optuna hold them."""

from collections.abc import Mapping, Sequence

from optuna import Trial
from optuna.trial import FrozenTrial

from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.settings import SamplerSpec

_DASHBOARD_KEY = "constraints"


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
