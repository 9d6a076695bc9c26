"""Hyperparameter optimization for CIFAR-10-size image classifiers."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """What takes a moment comes when it is asked for: commands and workers import this package, and need no reports."""
    if name == "__version__":
        return import_module("importlib.metadata").version("cifar-tune")
    if name == "load_study":
        return import_module("cifar_tune.reports.loaded").load_study
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "__version__", "load_study"]
