"""Hyperparameter optimization for CIFAR-10-size image classifiers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cifar_tune.model_files.loading import load_model
    from cifar_tune.reports.loaded import load_study

__all__ = ["__version__", "load_model", "load_study"]

__version__ = "0.1.0"
"""What the package is built with, too. A copy of this folder works where nothing is installed."""


_LATER = {"load_study": "cifar_tune.reports.loaded", "load_model": "cifar_tune.model_files.loading"}
"""What takes a moment to import, with its module: commands and workers import this package, and need none of it."""


def __getattr__(name: str) -> Any:
    """What takes a moment comes when it is asked for."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
