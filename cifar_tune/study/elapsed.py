"""The time that a study has used, over all runs."""

import time

import optuna

from cifar_tune.storage import attributes

_CLOCK_SECONDS = 5.0


class ElapsedTime:
    """Goes on from what earlier runs have used; written often enough that a run which is killed loses next to none."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._started = time.monotonic()
        self._before = self._written = float(study.user_attrs.get(attributes.ELAPSED, 0.0))

    @property
    def seconds(self) -> float:
        """So much of `budget.timeout` is used up."""
        return self._before + time.monotonic() - self._started

    def write(self) -> None:
        """Store it."""
        self._written = self.seconds
        self._study.set_user_attr(attributes.ELAPSED, round(self._written, 1))

    def write_if_due(self) -> None:
        """Store it unless that was done a moment ago."""
        if self.seconds - self._written >= _CLOCK_SECONDS:
            self.write()
