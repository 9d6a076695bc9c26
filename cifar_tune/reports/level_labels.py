"""Names of choices below an axis: short enough to stand side by side."""

from collections.abc import Sequence

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
