"""The figures of a trial's epochs, kept in pieces: a value in MySQL holds 65,535 bytes, about 600 epochs."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from cifar_tune.storage import attributes

PIECE = 500
"""Epochs per piece; six figures of nine digits take at most 102 bytes per epoch."""


def pieces(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, list[float]]]:
    """The trial's attributes that hold it: HISTORY, and for more epochs HISTORY with `_2`, `_3` and so on."""
    epochs = max((len(values) for values in history.values()), default=0)
    return {
        _name(index): {name: list(values[start : start + PIECE]) for name, values in history.items()}
        for index, start in enumerate(range(0, max(epochs, 1), PIECE))
    }


def joined(attrs: Mapping[str, Any]) -> dict[str, list[float]]:
    """The history that a trial's attributes hold.

    Further pieces than it has epochs are those of an earlier run whose checkpoint was lost.
    """
    history = {name: list(values) for name, values in attrs.get(attributes.HISTORY, {}).items()}
    for index in count(1):
        piece = attrs.get(_name(index))
        if piece is None:
            break
        for name, values in piece.items():
            history[name] += values
    epochs = attrs.get(attributes.EPOCHS)
    return {name: values[:epochs] for name, values in history.items()}


def is_piece(name: str) -> bool:
    """Whether a trial's attribute of this name is a piece of its history."""
    return name == attributes.HISTORY or name.startswith(f"{attributes.HISTORY}_")


def _name(index: int) -> str:
    return attributes.HISTORY if index == 0 else f"{attributes.HISTORY}_{index + 1}"
