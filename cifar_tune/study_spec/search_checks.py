"""Whether the sampler and the pruner can work with the space and the epochs of the study."""

from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_space import Choices
from cifar_tune.study_spec.settings import PrunerSpec, SamplerSpec
from cifar_tune.study_spec.space import Space, TooManyOutcomesError
from cifar_tune.wording import counted

MAX_GRID_VALUES = 10_000
"""Of one range: Optuna lists all of them, once for every trial."""


def check_sampler(sampler: SamplerSpec, space: Space, is_sound: bool, problems: Problems) -> list[str]:
    """Refuse ranges that an exhaustive sampler cannot list; note which knobs the sampler draws at random.

    Args:
        sampler: as it was read.
        space: what it searches.
        is_sound: whether nothing is wrong with the space itself.
        problems: gets what is refused.
    """
    choice = SAMPLERS[sampler.name]
    if not choice.handles_ranges:
        _check_grid(sampler.name, space, is_sound, problems)
    drawn = [
        name
        for name, dimension in space.dimensions.items()
        if (isinstance(dimension, Choices) and not choice.handles_categories)
        or (dimension.when and not choice.handles_conditions)
    ]
    if not drawn:
        return []
    searched = "ranges that every trial has" if not choice.handles_categories else "what every trial has"
    return [f"sampler {sampler.name} searches {searched}: {', '.join(drawn)} will be drawn at random"]


def _check_grid(sampler: str, space: Space, is_sound: bool, problems: Problems) -> None:
    before = problems.count
    for name, dimension in space.dimensions.items():
        path: Path = ("search_space", name)
        if isinstance(dimension, Choices) or not problems.is_sound(path):
            continue
        if dimension.count is None:
            problems.add(path, f"sampler {sampler} tries every combination, so this range needs a step, or choices")
        elif dimension.count > MAX_GRID_VALUES:
            rule = f"sampler {sampler} tries every combination, and this range holds {dimension.count:,} values"
            problems.add(path, f"{rule}; at most {MAX_GRID_VALUES:,} can be: give it a larger step, or choices")
    if is_sound and problems.count == before:
        try:
            space.size()
        except TooManyOutcomesError:
            problems.add(("search_space",), f"sampler {sampler} cannot list so many combinations of conditions")


def check_pruner(pruner: PrunerSpec, epochs: int, path: Path, problems: Problems) -> list[str]:
    """Refuse a first rung that lies behind the end of every trial; note a pruner that never prunes, or prunes oddly.

    Args:
        pruner: as it was read; the one that it wraps is checked too.
        epochs: of the longest trial.
        path: of the pruner in the study file, for messages.
        problems: gets what is refused.
    """
    notes = []
    smallest = pruner.options.get("min_resource", 1)
    if isinstance(smallest, int) and smallest > epochs:
        rule = f"must be at most the number of epochs that a trial has, {epochs}"
        problems.add((*path, "min_resource"), rule, smallest)
    warmup = pruner.options.get("n_warmup_steps", 0)
    if isinstance(warmup, int) and warmup >= epochs:
        notes.append(
            f"pruner {pruner.name} never prunes: n_warmup_steps is {warmup}, a trial has {counted(epochs, 'epoch')}"
        )
    if pruner.wrapped is not None:
        notes += check_pruner(pruner.wrapped, epochs, (*path, "wrapped_pruner"), problems)
    if PRUNERS[pruner.name].wraps and pruner.wrapped is None:
        notes.append("pruner patient without wrapped_pruner prunes whatever stops improving")
    return notes
