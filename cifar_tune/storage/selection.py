"""Constraints as trials of Optuna hold them, and which trials that keep them are the best."""

from collections.abc import Mapping, Sequence

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.pareto import losses, pareto_front
from cifar_tune.study_spec.settings import Objective, SamplerSpec

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


def best_trials(
    trials: Sequence[FrozenTrial], objectives: Sequence[Objective], constraints: Sequence[Constraint]
) -> list[FrozenTrial]:
    """The completed trials that keep all constraints, best first; of several objectives, those on the Pareto front."""
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE and is_feasible(trial, constraints)]
    completed.sort(key=lambda trial: (losses(trial.values, objectives), trial.number))
    if len(objectives) == 1:
        return completed
    return [completed[index] for index in pareto_front([losses(trial.values, objectives) for trial in completed])]


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
