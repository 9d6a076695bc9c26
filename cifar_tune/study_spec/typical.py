"""Configurations that stand for a study where a few have to: one from the middle of its space, and its largest ones."""

from collections.abc import Callable, Iterator, Mapping

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.part import Value
from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.study_spec.specification import StudySpec

Choose = Callable[[str, Dimension], Value]


def typical(spec: StudySpec, decided: Mapping[str, Value]) -> Configuration:
    """A configuration from the middle of the space, where some of it is decided."""
    return spec.space.configuration(_decided(decided, lambda _, dimension: _middle(dimension)))


def models_of(spec: StudySpec) -> list[str]:
    """The names of all models that a trial can have, in their order."""
    return sorted({str(outcome["model"]) for outcome in spec.space.outcomes({"model"})})


def largest(spec: StudySpec) -> Iterator[Configuration]:
    """For each model one whose whole numbers (`width`, `batch_size`, ...) are as large as they can be."""
    for model in models_of(spec):
        yield spec.space.configuration(_decided({"model": model}, lambda _, dimension: _largest(dimension)))


def _decided(decided: Mapping[str, Value], otherwise: Choose) -> Choose:
    return lambda name, dimension: decided[name] if name in decided else otherwise(name, dimension)


def _middle(dimension: Dimension) -> Value:
    if isinstance(dimension, Choices):
        return dimension.choices[len(dimension.choices) // 2]
    if dimension.step is None:
        return (dimension.low * dimension.high) ** 0.5 if dimension.log else (dimension.low + dimension.high) / 2
    middle = dimension.low + ((dimension.count or 1) // 2) * dimension.step
    return int(middle) if isinstance(dimension.low, int) else middle


def _largest(dimension: Dimension) -> Value:
    if isinstance(dimension, Choices):
        numbers = [choice for choice in dimension.choices if isinstance(choice, int) and not isinstance(choice, bool)]
        return max(numbers) if len(numbers) == len(dimension.choices) else _middle(dimension)
    return dimension.high if isinstance(dimension.high, int) else _middle(dimension)
