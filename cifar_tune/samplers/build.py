"""Builds Optuna's samplers, seeded so that a continued study does not repeat its draws."""

import hashlib
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.trial import FrozenTrial

from cifar_tune.knobs.part import resolve
from cifar_tune.optuna_internals import share_search_space
from cifar_tune.samplers.prior import PriorTPESampler
from cifar_tune.study_spec.prior import Prior
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.settings import SamplerSpec

_NONE: Mapping[str, Prior] = {}

_QUIET: dict[str, dict[str, Any]] = {
    # drawing choices independently is what these do; `check` has said so
    "gp": {"warn_independent_sampling": False},
    "cmaes": {"warn_independent_sampling": False},
    "qmc": {"warn_independent_sampling": False, "warn_asynchronous_seeding": False},
}


def build_sampler(spec: SamplerSpec, number: int, priors: Mapping[str, Prior] = _NONE) -> BaseSampler:
    """The sampler that suggests the parameters of trial `number`; `priors` bend the first draws of tpe.

    Samplers keep what they learn in the storage, so a fresh one per trial loses nothing, and its draws depend on the
    trial's number alone: not on how often the study was interrupted. A quasi-random sequence is the exception: its
    position is kept in the storage, and the seed must stay the same; what lies outside of the sequence (knobs that not
    every trial has) is drawn by the trial's number all the same, or it would be the same in every trial.
    """
    choice = SAMPLERS[spec.name]
    keywords: dict[str, Any] = {
        parameter.name: parameter.default for parameter in choice.parameters if parameter.name not in choice.automatic
    }
    keywords |= _QUIET.get(spec.name, {}) | dict(spec.options)
    own_seed = _seed_of(spec.seed, number)
    if choice.seeding == "constant":
        return _build(choice.target, seed=spec.seed, independent_sampler=RandomSampler(own_seed), **keywords)
    if spec.name == "tpe" and priors:
        return PriorTPESampler(priors, first=keywords.pop("n_startup_trials"), seed=own_seed, **keywords)
    return _build(choice.target, seed=own_seed, **keywords)


class Samplers:
    """The samplers of one study's trials, one after the other.

    What a sampler has found out about the space, which knobs all trials so far have in common, is passed on to the
    next: it would have to go through all trials again.
    """

    def __init__(self, spec: SamplerSpec, priors: Mapping[str, Prior] = _NONE) -> None:
        self._spec = spec
        self._priors = priors
        self._space: IntersectionSearchSpace | None = None

    def next(self, number: int) -> BaseSampler:
        """The sampler of trial `number`; the trials that it sees are those that the last one saw, and more."""
        sampler = build_sampler(self._spec, number, self._priors)
        self._space = share_search_space(sampler, self._space)
        return sampler


def neutral_sampler() -> BaseSampler:
    """A sampler that does nothing: for trials whose parameters are known, and to end trials without side effects."""
    return RandomSampler(seed=0)


def fixed_sampler(params: Mapping[str, Any]) -> BaseSampler:
    """A sampler that suggests what another trial had, as far as it had it."""
    return _Fixed(params)


class _Fixed(RandomSampler):
    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(seed=0)
        self._params = params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See `BaseSampler`."""
        if param_name in self._params:
            return self._params[param_name]
        return super().sample_independent(study, trial, param_name, param_distribution)


def _build(target: str, **keywords: Any) -> BaseSampler:
    sampler: BaseSampler = resolve(target)(**keywords)
    return sampler


def _seed_of(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"sampler {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
