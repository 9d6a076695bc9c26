"""Builds Optuna's pruners. Hyperband remembers the bracket of each trial."""

from typing import Any

from optuna.pruners import BasePruner, NopPruner

from cifar_tune.knobs.part import resolve
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.settings import PrunerSpec


def build_pruner(spec: PrunerSpec, largest_epochs: int) -> BasePruner:
    """The study's pruner. Steps are finished epochs, counted from 1.

    Hyperband is told the largest reachable number of epochs: left to itself it would guess it from the first trial
    that completes, and prune nothing before.
    """
    choice = PRUNERS[spec.name]
    if choice.promotes:
        return NopPruner()  # `study.promoting` pauses its trials
    keywords: dict[str, Any] = {
        parameter.name: parameter.default
        for parameter in choice.parameters
        if parameter.name not in choice.required and spec.name != "threshold"
    }
    keywords |= spec.options
    if choice.needs_max_resource:
        keywords["max_resource"] = largest_epochs
    if choice.wraps:
        keywords["wrapped_pruner"] = build_pruner(spec.wrapped, largest_epochs) if spec.wrapped else None
    pruner: BasePruner = resolve(choice.target)(**keywords)
    return pruner
