"""How long trainings will take, from those that have ended."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from cifar_tune.storage import attributes


def expected_seconds(trials: Sequence[FrozenTrial], configs: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """Seconds of whole trainings, if no trial is pruned; None if no trial with an epoch is known.

    The logarithm of the seconds per epoch is fitted by ridge regression on the knobs (logarithms of positive numbers,
    one indicator per other value): what makes a training longer, such as width, does so by a factor.

    Args:
        trials: those that have ended.
        configs: complete configurations as they are stored, by knob.
    """
    # importing these takes a second, and only a study that nears its end needs them
    from sklearn.feature_extraction import DictVectorizer  # noqa: PLC0415
    from sklearn.linear_model import Ridge  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    known = list(_known(trials))
    if not known or not configs:
        return None
    model = make_pipeline(DictVectorizer(sparse=False), StandardScaler(), Ridge())
    model.fit([_features(config) for config, _ in known], [math.log(seconds) for _, seconds in known])
    predicted = model.predict([_features(config) for config in configs])
    return [math.exp(value) * config["epochs"] for value, config in zip(predicted, configs, strict=True)]


def seconds_so_far(trials: Sequence[FrozenTrial]) -> list[float]:
    """Seconds that the whole training of each trial took, or would have taken at the speed of its epochs."""
    return [seconds * config["epochs"] for config, seconds in _known(trials)]


def _known(trials: Sequence[FrozenTrial]) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Configurations, and seconds per epoch."""
    for trial in trials:
        epochs, seconds = trial.user_attrs.get(attributes.EPOCHS, 0), trial.user_attrs.get(attributes.SECONDS, 0.0)
        if epochs and seconds and attributes.CONFIG in trial.user_attrs:  # a repeated trial took no time
            yield trial.user_attrs[attributes.CONFIG], seconds / epochs


def _features(config: Mapping[str, Any]) -> dict[str, float | str]:
    return {name: _feature(value) for name, value in config.items()}


def _feature(value: object) -> float | str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.log(value) if value > 0 else -10.0
    return str(value)
