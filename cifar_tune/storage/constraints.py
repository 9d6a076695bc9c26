"""Constraints, as trials of Optuna hold them, and which trials may be the best."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna import Trial
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import CONSTRAINT, CONSTRAINTS_OF_OPTUNA_4, show_constraints
from cifar_tune.storage import attributes
from cifar_tune.storage.linked import parent_of
from cifar_tune.study_spec.constraints import Constraint
from cifar_tune.study_spec.settings import SamplerSpec
from cifar_tune.study_spec.specification import StudySpec


def is_repetition(trial: FrozenTrial) -> bool:
    """Whether it took over the result of an earlier trial: it has no checkpoint, and shows nothing new."""
    return trial.user_attrs.get(attributes.REASON) == "repeated"


def was_finished_elsewhere(trial: FrozenTrial) -> bool:
    """Whether another program gave a trial its value: then nobody knows what was trained for it.

    Judged by what every end of ours writes. What a trial of ours carries from its beginning says nothing of its value:
    another program may tell it while it runs here.
    """
    is_ours = attributes.CONFIG in trial.user_attrs and trial.user_attrs.get(attributes.REASON)
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and not is_ours


def is_stranger(trial: FrozenTrial) -> bool:
    """Whether it has ended and was never begun here: then no combination of a grid was tried with it."""
    return trial.state.is_finished() and attributes.CONFIG not in trial.user_attrs


def may_be_best(trial: FrozenTrial, constraints: Sequence[Constraint]) -> bool:
    """Whether a trial ran to its end here, shows something of its own, and keeps all constraints."""
    return (
        trial.state == TrialState.COMPLETE
        and not is_repetition(trial)
        and not was_finished_elsewhere(trial)
        and is_feasible(trial, constraints) is True
    )


def without_best_words(name: str, spec: StudySpec, completed: int, has_own: bool) -> str:
    """Why a study has no best trial, as the begin of a sentence.

    Args:
        name: of the study.
        spec: its specification.
        completed: how many of its trials completed.
        has_own: whether this program ended one of these.
    """
    if (parent := parent_of(name)) is not None:
        return f"{name!r} is no search but a part of finalizing {parent}, so none of its trials is the best one"
    if not completed:
        return f"the study {name!r} has no completed trial"
    if not has_own:
        return f"the study {name!r} has no completed trial of its own"
    constraints = ", ".join(str(constraint) for constraint in spec.constraints)
    keeps = f" that keeps all of: {constraints}" if constraints else ""
    if spec.repeats is not None:
        return f"the study {name!r} has no configuration with all its {spec.trainings} trainings{keeps}"
    return f"the study {name!r} has no completed trial{keeps}"


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
    found: dict[str, Any] = {f"{CONSTRAINT}{name}": violation for name, violation in violations.items()}
    if violations and sampler.name != "gp":
        found[CONSTRAINTS_OF_OPTUNA_4] = list(violations.values())
    return found


def without_violations(system_attrs: Mapping[str, Any]) -> dict[str, Any]:
    """System attributes of a trial but those that say how far it breaks constraints."""
    return {
        key: value
        for key, value in system_attrs.items()
        if key != CONSTRAINTS_OF_OPTUNA_4 and not key.startswith(CONSTRAINT)
    }


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
        show_constraints(trial, list(violations.values()))
