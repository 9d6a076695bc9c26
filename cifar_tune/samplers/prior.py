"""TPE whose first draws keep to what somebody holds for good (`prior` of a searched knob).

TPE draws its first trials at random. Here a share of these draws, the prior's confidence, is taken near its value: the
value itself of choices, else from a normal distribution around it whose standard deviation is a tenth of the range, on
the scale on which it is searched. All later trials are TPE's own, so that a wrong prior costs no more than a part of
the first ones.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.knobs.knob import stored
from cifar_tune.study_spec.prior import Prior

_SPREAD = 0.1
_MOST_DRAWS = 100
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class PriorTPESampler(TPESampler):
    """See above.

    Args:
        priors: by knob.
        first: trials that are drawn at random, TPE's own `n_startup_trials`.
        seed: of one trial.
        keywords: TPE's other parameters.
    """

    def __init__(self, priors: Mapping[str, Prior], first: int, seed: int, **keywords: Any) -> None:
        super().__init__(n_startup_trials=first, seed=seed, **keywords)
        self._priors = priors
        self._first = first
        self._seed = seed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See `BaseSampler`. What the others draw does not depend on priors."""
        drawn = super().sample_independent(study, trial, param_name, param_distribution)
        prior = self._priors.get(param_name)
        if prior is None or len(study.get_trials(deepcopy=False, states=_ENDED)) >= self._first:
            return drawn
        digest = hashlib.sha256(f"prior {self._seed} {param_name}".encode()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8]))
        return near(prior, param_distribution, draw) if draw.random() < prior.confidence else drawn


def near(prior: Prior, distribution: BaseDistribution, draw: np.random.Generator) -> Any:
    """One draw near the value of a prior, of the values that the distribution has."""
    if isinstance(distribution, CategoricalDistribution):
        return stored(prior.value)
    if not isinstance(distribution, FloatDistribution | IntDistribution) or not isinstance(prior.value, int | float):
        raise TypeError(f"no prior is known for {distribution}")
    to, back = (math.log, math.exp) if distribution.log else (float, float)
    low, high, middle = to(distribution.low), to(distribution.high), to(prior.value)
    place = middle
    for _ in range(_MOST_DRAWS):  # at an end of the range every other draw lies outside
        place = draw.normal(middle, _SPREAD * (high - low))
        if low <= place <= high:
            break
    value = min(max(back(place), float(distribution.low)), float(distribution.high))
    if distribution.step is not None and not distribution.log:
        steps = round((value - distribution.low) / distribution.step)
        value = min(distribution.low + steps * distribution.step, distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else value
