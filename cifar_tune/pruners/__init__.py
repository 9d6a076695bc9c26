"""Optuna's pruners by name."""
