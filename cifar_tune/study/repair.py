"""What a run that was killed, or another program, left in a study, made whole before anything goes on."""

from collections.abc import Iterable, Iterator

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.optuna_internals import RUNG, as_asked, trial_id
from cifar_tune.samplers.build import neutral_sampler
from cifar_tune.storage import attributes
from cifar_tune.storage.earlier_batches import EarlierBatches
from cifar_tune.storage.selection import was_finished_elsewhere, write_violations
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.specification import StudySpec


def repair(study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec) -> Iterator[str]:
    """Let no trial run, since nobody trains yet, and yield sentences about what there was to do.

    Pruned trials get the rest of their end; all others wait, and go on where their checkpoint ends.
    """
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        if attributes.PRUNED_AT in trial.user_attrs:  # the verdict was given, the rest of its end is missing
            _end_pruned(study, storage, spec, trial)
        else:
            storage.set_trial_state_values(trial_id(trial), TrialState.WAITING)
    orphans = [trial for trial in left if attributes.PRUNED_AT not in trial.user_attrs]
    foreign = [trial for trial in orphans if attributes.CONFIG not in trial.user_attrs]  # ours are created with it
    ours = [trial for trial in orphans if trial not in foreign]
    if ours:
        yield (f"an earlier run was killed while it trained trial {_numbers(ours)}: taken up where the checkpoint ends")
    if foreign:
        yield f"trial {_numbers(foreign)} was left running by another program: it begins again here"
    strangers = about_strangers(study.get_trials(deepcopy=False))
    if strangers is not None:
        yield strangers


def about_strangers(trials: Iterable[FrozenTrial]) -> str | None:
    """A sentence about those of the trials that another program finished; None if there are none."""
    strangers = [trial for trial in trials if was_finished_elsewhere(trial)]
    if not strangers:
        return None
    return (
        f"another program finished trial {_numbers(strangers)}: counted against the budget, and seen by the sampler, "
        f"but never the best, since nobody knows what was trained"
    )


def _end_pruned(study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec, trial: FrozenTrial) -> None:
    """Constraints are judged by the figures that were written down before the pruner was asked."""
    storage.set_trial_user_attr(trial_id(trial), attributes.REASON, "pruned")
    study.sampler = neutral_sampler()
    _note_rung(study, storage, spec, trial)
    figures = trial.user_attrs.get(attributes.METRICS, {})
    write_violations(as_asked(study, trial), violations(spec.constraints, figures), spec.sampler)
    last = trial.intermediate_values[max(trial.intermediate_values)]
    storage.set_trial_state_values(trial_id(trial), TrialState.PRUNED, [last])


def _note_rung(study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec, trial: FrozenTrial) -> None:
    """Let successive halving note which rung the trial reached, if that was not written any more; others need it.

    It notes it when it is asked; what it says is known already. It must not be asked twice.
    """
    last = trial.intermediate_values[max(trial.intermediate_values)]
    rungs = sum(key.startswith(RUNG) for key in trial.system_attrs)
    if trial.system_attrs.get(f"{RUNG}{rungs - 1}") == last:
        return
    if spec.deterministic is not None:
        view = EarlierBatches(storage, trial.number, spec.deterministic, is_exhaustive=False)
        study = optuna.load_study(study_name=study.study_name, storage=view, pruner=study.pruner)
    as_asked(study, trial).should_prune()


def _numbers(trials: list[FrozenTrial]) -> str:
    return ", ".join(str(trial.number) for trial in trials)
