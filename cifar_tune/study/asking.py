"""From the search space to one trial's configuration, through Optuna."""

from collections.abc import Collection, Container, Mapping
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import Kind, Knob, stored
from cifar_tune.knobs.part import Value
from cifar_tune.optuna_internals import ENQUEUED, asks_what_waits, storage_of
from cifar_tune.samplers.build import Samplers, build_sampler, fixed_sampler, neutral_sampler
from cifar_tune.storage import attributes
from cifar_tune.storage.views import EarlierBatches, PassingStorage, PausedAsPruned, is_paused
from cifar_tune.study_spec.placing import off_step
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.space import distinct
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.start_from import suggested


def ask(
    study: optuna.Study,
    spec: StudySpec,
    samplers: Samplers,
    waiting: FrozenTrial | None,
    again: Mapping[str, Any] | None = None,
) -> tuple[optuna.Trial, Configuration]:
    """Ask for the given trial, which waits; else for a new one, when none must wait: with the parameters `again`.

    A parked trial keeps its number, its parameters and the values that it reported.
    """
    number = len(study.get_trials(deepcopy=False)) if waiting is None else waiting.number
    is_exhaustive = not SAMPLERS[spec.sampler.name].handles_ranges
    if waiting is not None:
        study = _asked_for(study, waiting.number)
    is_known = waiting is not None and attributes.CONFIG in waiting.user_attrs
    if PRUNERS[spec.pruner.name].promotes and not is_known:
        shown = PausedAsPruned(storage_of(study))
        study = optuna.load_study(study_name=study.study_name, storage=shown, pruner=study.pruner)
    if spec.deterministic is not None or is_exhaustive:
        # the trial keeps this view for as long as it runs, so that the pruner decides from it too
        view = EarlierBatches(storage_of(study), number, spec.deterministic, is_exhaustive)
        study = optuna.load_study(study_name=study.study_name, storage=view, pruner=study.pruner)
    # its configuration is written down after the last parameter was drawn: then nothing is left to draw
    if is_known:
        study.sampler = neutral_sampler()
    elif again is not None:
        study.sampler = fixed_sampler(again)
    elif spec.deterministic is not None:  # a trial that was parked sees fewer trials than the last one did
        study.sampler = build_sampler(spec.sampler, number, spec.priors)
    else:
        study.sampler = samplers.next(number)
    trial = study.ask()
    knobs = spec.vocabulary.knobs
    config = spec.space.configuration(lambda name, dimension: _suggest(trial, knobs[name], dimension))
    return trial, config


def enqueue_known(study: optuna.Study, spec: StudySpec, there: Collection[object]) -> None:
    """Enqueue the configurations of `start_from` that the study does not have yet; the caller holds its lease.

    Each carries its position, written in one transaction with the trial itself: a run that was killed in between goes
    on with the next one. It has to be done before anything is asked for, so that they come first, in their order.

    Args:
        study: in the database.
        spec: its specification.
        there: the positions of those that it has already.
    """
    for index, item in enumerate(spec.start_from):
        if index not in there:
            study.enqueue_trial(suggested(spec.space, item), user_attrs={attributes.START_FROM: index})


def waiting_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The parked and enqueued trials, in the order of their numbers; none that is paused."""
    return [trial for trial in _all_waiting(study) if not is_paused(trial)]


def _all_waiting(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def next_number(study: optuna.Study) -> int:
    """The number of the trial that is next where trials begin in the order of their numbers."""
    waiting = waiting_trials(study)
    return waiting[0].number if waiting else len(study.get_trials(deepcopy=False))


def refusal(waiting: FrozenTrial, spec: StudySpec) -> str | None:
    """Why a trial that somebody enqueued, or that another program began, cannot run; None if it can.

    Optuna itself would run values out of range, and ignore names that it does not know.
    """
    if attributes.CONFIG in waiting.user_attrs:
        return None  # it has run here
    enqueued = waiting.system_attrs.get(ENQUEUED, {})
    if not isinstance(enqueued, dict):
        return f"its parameters are not a mapping: {enqueued!r}"
    for name, value in {**enqueued, **waiting.params}.items():
        dimension = spec.search_space.get(name)
        if dimension is None:
            return f"{name} is not searched in this study"
        if isinstance(dimension, Choices):
            choices = [stored(choice) for choice in dimension.choices]
            if value not in choices:
                return f"{name} = {value!r} is none of {', '.join(str(choice) for choice in choices)}"
        elif isinstance(value, bool) or not isinstance(value, int | float):
            return f"{name} = {value!r} is not a number"
        elif not dimension.low <= value <= dimension.high:
            return f"{name} = {value!r} is not between {dimension.low} and {dimension.high}"
        elif off_step(dimension, value):
            return f"{name} = {value!r} is not {dimension.low} or a whole number of steps of {dimension.step:g} above"
    return None


def refuse(study: optuna.Study, number: int, reason: str) -> FrozenTrial:
    """End a trial that waits, which somebody enqueued and which cannot run; returns it as it ended."""
    study = _asked_for(study, number)
    study.sampler = neutral_sampler()
    trial = study.ask()
    trial.set_user_attr(attributes.REASON, "error")
    trial.set_user_attr(attributes.ERROR, f"enqueued: {reason}")
    return study.tell(trial, state=TrialState.FAIL)


def distribution(spec: StudySpec, name: str) -> BaseDistribution:
    """Optuna's distribution of what is suggested for a searched knob."""
    dimension = spec.search_space[name]
    if isinstance(dimension, Choices):
        return CategoricalDistribution([stored(choice) for choice in dimension.choices])
    if spec.vocabulary.knobs[name].kind is Kind.INT:
        step = int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def is_exhausted(study: optuna.Study, size: int) -> bool:
    """Whether all of `size` combinations have been tried."""
    trials = study.get_trials(deepcopy=False)
    begun = (
        trial
        for trial in trials
        if (trial.state != TrialState.WAITING or is_paused(trial)) and attributes.CONFIG in trial.user_attrs
    )
    return distinct(trial.params for trial in begun) >= size


def _asked_for(study: optuna.Study, number: int) -> optuna.Study:
    """The study, in which `ask` takes this one of the trials that wait."""
    if number == _all_waiting(study)[0].number:
        return study
    chosen = _OneWaits(storage_of(study), number)
    return optuna.load_study(study_name=study.study_name, storage=chosen, pruner=study.pruner)


class _OneWaits(PassingStorage):
    """Another storage, in which one trial alone waits: `Study.ask` takes the first one that does."""

    def __init__(self, backend: BaseStorage, number: int) -> None:
        super().__init__(backend)
        self._number = number

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        found = self._backend.get_all_trials(study_id, deepcopy, states)
        return [each for each in found if each.number == self._number] if asks_what_waits(states) else found


def _suggest(trial: optuna.Trial, knob: Knob, dimension: Dimension) -> Value:
    name = knob.name
    if isinstance(dimension, Choices):
        by_stored = {stored(choice): choice for choice in dimension.choices}
        return by_stored[cast("str", trial.suggest_categorical(name, list(by_stored)))]
    if knob.kind is Kind.INT:
        step = int(dimension.step or 1)
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log, step=dimension.step)
