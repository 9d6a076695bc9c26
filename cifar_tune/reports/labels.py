"""Short names of choices and searched dimensions, for axes and tables."""

from collections.abc import Sequence

from cifar_tune.study_spec.search_space import Choices, Dimension
from cifar_tune.wording import figure

_LONGEST = 26


def level_label(level: object, one_line: bool = False) -> str:
    """A choice's label; a list of names breaks after each of them unless it must stay on one line."""
    text = str(level).lower() if isinstance(level, bool) else str(level)
    if one_line:
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return text.replace("+", "+\n")


def fits(labels: Sequence[str], characters: int) -> bool:
    """Whether the labels can stand side by side in that width, given that each gets an equal part of it."""
    longest = max(len(line) for label in labels for line in label.split("\n"))
    highest = max(label.count("\n") for label in labels)
    return (longest + 1) * len(labels) <= characters and highest <= 3


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
