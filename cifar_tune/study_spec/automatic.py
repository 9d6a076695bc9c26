"""`sampler: auto`: which sampler it stands for, by the space, the budget and the pruner.

The rule follows from `python -m benchmarks.samplers` (docs/performance.md): on made spaces, Gaussian processes were the
best with few trials and ranges alone, TPE that models knobs one by one with many choices and many trials, and TPE that
models them together in all other cases. A small space is tried as a whole.
"""

from dataclasses import replace

from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.settings import SamplerSpec
from cifar_tune.study_spec.space import TooManyOutcomesError
from cifar_tune.study_spec.specification import StudySpec

_FEW, _MANY = 50, 50
"""Trials, up to which GP was better than TPE, and from which on TPE was better one by one."""


def chosen_sampler(spec: StudySpec) -> tuple[SamplerSpec, str]:
    """The sampler that `auto` stands for in a study, and why in words.

    Args:
        spec: whose search space is sound.
    """
    trials, dimensions = spec.budget.trials, list(spec.search_space.values())
    size = _size(spec)
    if spec.priors:
        return _with(spec, "tpe"), "only this sampler uses the prior of a knob"
    if size is not None and size <= trials and dimensions:
        return _with(spec, "grid"), f"all {size:,} combinations fit into {trials:,} trials"
    choices = sum(isinstance(each, Choices) for each in dimensions)
    has_conditions = any(each.when for each in dimensions)
    is_plain = not choices and not has_conditions and not spec.has_several_objectives
    if is_plain and trials <= _FEW and spec.pruner.name == "none":
        return _with(spec, "gp"), f"the space has only ranges, nothing is pruned, and {trials} trials are few"
    if 2 * choices >= len(dimensions) > 0 and trials >= _MANY:
        words = f"{choices} of {len(dimensions)} knobs have choices, which {trials:,} trials tell apart one by one"
        return _with(spec, "tpe", multivariate=False), words
    return _with(spec, "tpe"), "it models all knobs together, conditions and pruned trials included"


def _with(spec: StudySpec, name: str, **options: bool) -> SamplerSpec:
    return replace(spec.sampler, name=name, options=options)


def _size(spec: StudySpec) -> int | None:
    try:
        return spec.space.size()
    except TooManyOutcomesError:
        return None


def sampler_words(sampler: SamplerSpec) -> str:
    """A sampler as a study file would have it, without its seed."""
    options = "".join(f", {name}: {str(value).lower()}" for name, value in sampler.options.items())
    return f"{{name: {sampler.name}{options}}}"
