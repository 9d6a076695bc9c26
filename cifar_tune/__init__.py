"""Hyperparameter optimization for CIFAR-10-size image classifiers."""

from importlib.metadata import version

__version__ = version("cifar-tune")
