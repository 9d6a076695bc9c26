"""Keeps Optuna's own log lines and warnings away from the user: what matters of them is said in our words."""

import warnings

import optuna
from optuna.exceptions import ExperimentalWarning


def quieten_optuna() -> None:
    """Let Optuna log errors only, and not warn that an interface may change: the version is pinned below 5.1."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
