"""A search dimension in words."""

from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.wording import figure


def dimension_words(dimension: Dimension) -> tuple[str, str]:
    """What is searched, and where."""
    where = "; ".join(f"{on} is {' or '.join(figure(v) for v in wanted)}" for on, wanted in dimension.when.items())
    if isinstance(dimension, Choices):
        return ", ".join(figure(choice) for choice in dimension.choices), where
    words = f"{figure(dimension.low)} to {figure(dimension.high)}"
    if dimension.log:
        words += ", log scale"
    elif dimension.step is not None:
        words += f", in steps of {figure(dimension.step)}"
    if dimension.per is not None:
        words += f", {dimension.per}"
    return words, where
