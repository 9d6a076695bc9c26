"""From what is stored of a trial's epochs to the figures of its study's metrics."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from cifar_tune.storage import attributes
from cifar_tune.storage.attributes import joined
from cifar_tune.study_spec.metrics import Measured
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import FIGURES, EpochResult

_SixFigures = tuple[float, float, float, float, float, float]


def known_figures(spec: StudySpec, measured: Measured, has_begun: bool) -> dict[str, float]:
    """The metrics that a study looks at by name, as far as a training has shown them.

    Args:
        spec: the study.
        measured: what the training has shown.
        has_begun: whether parameters and multiply-adds are known, with or without an epoch.
    """
    metrics = spec.known_metrics
    found = {
        name: metrics[name].value(measured)
        for name in spec.metrics
        if measured.results or (has_begun and metrics[name].is_known_before_training)
    }
    return {name: value for name, value in found.items() if value is not None}


def stored_figures(attrs: Mapping[str, Any], spec: StudySpec) -> dict[str, float]:
    """The same of a stored trial: what it kept, and what follows from its epochs, to their nine digits.

    Args:
        attrs: the user attributes of the trial.
        spec: of its study, or of the one that it is to be carried over to.
    """
    kept: Mapping[str, float] = attrs.get(attributes.METRICS, {})
    measured = Measured(results_of(joined(attrs)), attrs.get(attributes.PARAMETERS, 0), attrs.get(attributes.FLOPS, 0))
    found = known_figures(spec, measured, has_begun=attributes.PARAMETERS in attrs)
    return {name: kept.get(name, found.get(name, 0.0)) for name in spec.metrics if name in kept or name in found}


def results_of(history: Mapping[str, Sequence[float | None]]) -> list[EpochResult]:
    """The epochs of a stored history."""
    rows = zip(*(history.get(name, ()) for name in FIGURES), strict=True)
    further = [name for name in history if name not in FIGURES]
    results = []
    for index, row in enumerate(rows):
        measures = {name: value for name in further if (value := history[name][index]) is not None}
        results.append(EpochResult(index + 1, *cast("_SixFigures", row), measures))
    return results
