"""How long trainings take in relation to each other, from trials that have ended."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.trial import FrozenTrial

from cifar_tune.storage import attributes

FEWEST_KNOWN = 5
"""Trials that have ended, below which nothing is said."""
_PENALTY = 1.0
_NEARLY_CONSTANT = 1e-6


def whole_seconds(ended: Sequence[FrozenTrial]) -> list[float]:
    """Seconds that the whole training of each trial takes at the speed of its epochs, had it not been pruned.

    First epochs warm up, so that trials of two and more epochs speak for all where there are enough of them.
    """
    known = list(_known(ended))
    longer = [each for each in known if each[2] >= 2]
    return [seconds * config["epochs"] for config, seconds, _ in (longer if len(longer) >= FEWEST_KNOWN else known)]


def expected_logarithms(ended: Sequence[FrozenTrial], waiting: Sequence[FrozenTrial]) -> list[float] | None:
    """The logarithm of the seconds that each waiting trial should still take if it is not pruned; None if unknown.

    The logarithm of the seconds per epoch is fitted by ridge regression on the knobs (logarithms of positive numbers,
    one indicator per other value), since what makes a training longer, such as width, does so by a factor.
    """
    known = list(_known(ended))
    if len(known) < FEWEST_KNOWN:
        return None
    configs = [trial.user_attrs[attributes.CONFIG] for trial in waiting]
    features = _features([config for config, *_ in known] + configs)
    logarithms = np.log([seconds for _, seconds, _ in known])
    per_epoch = _ridge(features[: len(known)], logarithms, features[len(known) :])
    left = [max(config["epochs"] - _epochs(trial), 1) for config, trial in zip(configs, waiting, strict=True)]
    return [float(value) for value in per_epoch + np.log(left)]


def _known(ended: Sequence[FrozenTrial]) -> Iterator[tuple[Mapping[str, Any], float, int]]:
    """Configurations, seconds per epoch, and epochs."""
    for trial in ended:
        epochs, seconds = _epochs(trial), float(trial.user_attrs.get(attributes.SECONDS, 0.0))
        if epochs and seconds and attributes.CONFIG in trial.user_attrs:  # a repeated trial took no time
            yield trial.user_attrs[attributes.CONFIG], seconds / epochs, epochs


def _epochs(trial: FrozenTrial) -> int:
    return int(trial.user_attrs.get(attributes.EPOCHS, 0))


def _features(configs: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
    """One row per configuration; columns for all that differs or not."""
    rows = [dict(_feature(name, value) for name, value in config.items()) for config in configs]
    columns = sorted({name for row in rows for name in row})
    return np.array([[row.get(name, 0.0) for name in columns] for row in rows])


def _feature(name: str, value: object) -> tuple[str, float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return name, math.log(value) if value > 0 else -10.0
    return f"{name}={value}", 1.0


def _ridge(
    features: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], asked: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Predictions of ridge regression on standardized features, with an intercept that is not penalized."""
    mean, scale = features.mean(0), features.std(0)
    scale[scale < _NEARLY_CONSTANT] = math.inf  # what has not varied says nothing
    standardized = (features - mean) / scale
    gram = standardized.T @ standardized + _PENALTY * np.eye(len(mean))
    weights = np.linalg.solve(gram, standardized.T @ (targets - targets.mean()))
    predictions: npt.NDArray[np.float64] = targets.mean() + (asked - mean) / scale @ weights
    return predictions
