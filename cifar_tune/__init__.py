"""Hyperparameter optimization for CIFAR-10-size image classifiers."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("cifar-tune")


def __getattr__(name: str) -> Any:
    """`load_study` comes when it is asked for: commands and workers import this package, and need no reports."""
    if name == "load_study":
        return import_module("cifar_tune.reports.loaded").load_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "load_study"]
