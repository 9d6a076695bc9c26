"""Hyperparameter optimization for CIFAR-10-size image classifiers."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
"""What the package is built with, too. A copy of this folder works where nothing is installed."""


def __getattr__(name: str) -> Any:
    """What takes a moment comes when it is asked for: commands and workers import this package, and need no reports."""
    if name == "load_study":
        return import_module("cifar_tune.reports.loaded").load_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "load_study"]
