"""A trial of one specification as a trial of another one."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.knobs.knob import Kind, stored
from cifar_tune.optuna_internals import ENQUEUED, RUNG
from cifar_tune.storage import attributes
from cifar_tune.storage.histories import joined
from cifar_tune.storage.selection import violation_attributes, without_violations
from cifar_tune.study.asking import refusal
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.evolution import Misfit, items_run_already, suggested_for, uses_changed_plugin
from cifar_tune.study_spec.metrics import METRICS, Measured
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.settings import PrunerSpec
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import EpochResult


@dataclass
class Carried:
    """Which trials go over and which do not.

    Attributes:
        trials: as trials of the new specification, without their new attributes of samplers and pruners.
        left: why others stay behind, with their numbers.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    left: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def carry(trials: Sequence[FrozenTrial], before: StudySpec, after: StudySpec, version: str) -> Carried:
    """Sort the trials of a study, in the order of their numbers.

    Args:
        trials: of the study as it was.
        before: the specification that they were run with.
        after: the one that they shall belong to.
        version: the name under which the study as it was is kept.
    """
    carried = Carried()
    known: set[int] = set()
    kept: list[tuple[FrozenTrial, FrozenTrial]] = []
    for trial in trials:
        if attributes.CONFIG not in trial.user_attrs:
            again = _not_begun(trial, after)
        else:
            again = _begun(trial, before, after, known)
        if isinstance(again, FrozenTrial):
            again.user_attrs[attributes.CARRIED_FROM] = {"study": version, "number": trial.number}
            again.number = len(kept)
            kept.append((trial, again))
        elif again is not None:
            carried.left[again.reason].append(trial.number)
    same_numbers = all(trial.number == again.number for trial, again in kept)
    for trial, again in kept:
        again.system_attrs |= _of_sampler_and_pruner(trial, again, before, after, same_numbers)
        carried.trials.append(again)
    return carried


def keeps_samplers_notes(before: StudySpec, after: StudySpec, same_numbers: bool) -> bool:
    """Whether what a sampler has noted of trials still holds: it names them by number, and parameters by position."""
    return same_numbers and (before.sampler, before.search_space, before.train) == (
        after.sampler,
        after.search_space,
        after.train,
    )


def distribution(spec: StudySpec, name: str) -> BaseDistribution:
    """Optuna's distribution of what is suggested for a searched knob."""
    dimension = spec.search_space[name]
    if isinstance(dimension, Choices):
        return CategoricalDistribution([stored(choice) for choice in dimension.choices])
    if spec.vocabulary.knobs[name].kind is Kind.INT:
        step = int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _not_begun(trial: FrozenTrial, after: StudySpec) -> FrozenTrial | Misfit | None:
    """Enqueued trials wait again; None where there is nothing to carry."""
    if trial.state.is_finished():
        return Misfit("another program made it, or it was refused before it began")
    if ENQUEUED not in trial.system_attrs or attributes.START_FROM in trial.user_attrs:
        return None  # nothing of it was trained; items of `start_from` are enqueued anew
    reason = refusal(trial, after)
    if reason is not None:
        return Misfit(f"it was enqueued, and {reason}")
    again = copy.copy(trial)
    again.state = TrialState.WAITING
    again.params, again.distributions, again.datetime_start = {}, {}, None
    again.user_attrs = dict(trial.user_attrs)
    again.system_attrs = {ENQUEUED: trial.system_attrs[ENQUEUED]}
    return again


def _begun(trial: FrozenTrial, before: StudySpec, after: StudySpec, known: set[int]) -> FrozenTrial | Misfit:
    config: Mapping[str, Any] = trial.user_attrs[attributes.CONFIG]
    plugin = uses_changed_plugin(config, before.plugins, after.plugins)
    if plugin is not None:
        return Misfit(f"it uses parts of {plugin}, whose content has changed")
    params = suggested_for(after.space, config)
    if isinstance(params, Misfit):
        return params
    figures = _figures(trial, after)
    judged = violations([each for each in after.constraints if each.metric in figures], figures)
    if trial.user_attrs.get(attributes.REASON) == "infeasible":
        if all(violation <= 0 for violation in judged.values()):
            return Misfit("its model was too large to be trained, and would not be now")
    else:
        judged = violations(after.constraints, figures)
    again = copy.copy(trial)
    again.params = dict(params)
    again.distributions = {name: distribution(after, name) for name in params}
    again.user_attrs = {
        key: value for key, value in trial.user_attrs.items() if key not in (attributes.START_FROM, attributes.REPEATS)
    }
    if figures and (after.constraints or after.has_several_objectives):
        again.user_attrs[attributes.METRICS] = figures
    item = _item(trial, before, after, known)
    if item is not None:
        known.add(item)
        again.user_attrs[attributes.START_FROM] = item
    again.system_attrs = {key: value for key, value in trial.system_attrs.items() if key == ENQUEUED}
    if trial.state.is_finished():
        again.system_attrs |= violation_attributes(judged, after.sampler)
    return again


def _item(trial: FrozenTrial, before: StudySpec, after: StudySpec, known: set[int]) -> int | None:
    """Which item of the new `start_from` the trial is, so that it is not run twice."""
    own = trial.user_attrs.get(attributes.START_FROM)
    same = [index for index, item in enumerate(after.start_from) if own is not None and item == before.start_from[own]]
    found = [*same, *items_run_already(after, trial.user_attrs[attributes.CONFIG])]
    return next((index for index in found if index not in known), None)


def _figures(trial: FrozenTrial, after: StudySpec) -> dict[str, float]:
    """The metrics that the new specification looks at, as far as the trial has shown them."""
    attrs = trial.user_attrs
    known: dict[str, float] = dict(attrs.get(attributes.METRICS, {}))
    results = _results(joined(attrs))
    measured = Measured(results, attrs.get(attributes.PARAMETERS, 0), attrs.get(attributes.FLOPS, 0))
    has_begun = attributes.PARAMETERS in attrs
    return {
        name: known[name] if name in known else METRICS[name].value(measured)
        for name in after.metrics
        if name in known or results or (has_begun and METRICS[name].is_known_before_training)
    }


def _results(history: Mapping[str, Sequence[float]]) -> list[EpochResult]:
    names = [each.name for each in fields(EpochResult) if each.name != "epoch"]
    rows = zip(*(history.get(name, ()) for name in names), strict=True)
    return [EpochResult(epoch, *row) for epoch, row in enumerate(rows, start=1)]


def _of_sampler_and_pruner(
    trial: FrozenTrial, again: FrozenTrial, before: StudySpec, after: StudySpec, same_numbers: bool
) -> dict[str, Any]:
    keeps_rungs = (before.pruner, before.largest_epochs) == (after.pruner, after.largest_epochs) and (
        trial.number == again.number or not _deals_by_number(after.pruner)
    )
    keeps_notes = keeps_samplers_notes(before, after, same_numbers)
    return {
        key: value
        for key, value in without_violations(trial.system_attrs).items()
        if key != ENQUEUED and (keeps_rungs if key.startswith(RUNG) else keeps_notes)
    }


def _deals_by_number(pruner: PrunerSpec) -> bool:
    """Hyperband deals trials into brackets by their numbers, and a rung means another epoch in each bracket."""
    return "hyperband" in (pruner.name, pruner.wrapped.name if pruner.wrapped else "")
