"""`repeats` of a study file: which configuration is trained once more, and on which seed or fold.

A configuration is trained on one seed after the other, so that each result can end it; several at a time only where
executors would have nothing to do. Which one is next follows from the stored trials alone: after a kill, on a cluster,
and in another program. With `deterministic: N` a trial is given what the trials of earlier batches decide.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.optuna_internals import as_stored
from cifar_tune.storage import attributes
from cifar_tune.storage.fallen_behind import Course, courses, fallen_behind
from cifar_tune.storage.means import Key, by_configuration, key_of
from cifar_tune.storage.views import first_of_batch
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted


@dataclass(frozen=True, slots=True)
class Again:
    """A configuration that is to be trained once more.

    Attributes:
        params: what the sampler had suggested for it.
        is_urgent: whether it comes before new configurations, since none of its trainings is running.
    """

    params: Mapping[str, Any]
    is_urgent: bool


class Repeating:
    """Deals the repeats of one study. Without `repeats` every trial is a configuration of its own."""

    def __init__(self, study: optuna.Study, spec: StudySpec) -> None:
        self._study = study
        self._spec = spec
        self._told: set[Key] = set()

    def again(self, number: int) -> Again | None:
        """The configuration that trial `number` should train once more; None where only new ones are left.

        Those of which no training is running come first, the best of them first of all.
        """
        if self._spec.repeats is None:
            return None
        each, behind = self._looked_at(number)
        open_ = [one for key, one in each.items() if key not in behind and not one.is_out and self._lacks(one)]
        if not open_:
            return None
        chosen = max(open_, key=lambda each: (not each.is_running, each.mean, -each.first))
        return Again(chosen.params, is_urgent=not chosen.is_running)

    def dealt(self, trial: optuna.Trial, config: Configuration) -> tuple[Configuration, int | None]:
        """Give a trial, which has all its parameters, its repeat, and with it its seed; it keeps the one that it has.

        One beyond the last repeat, which another program has enqueued, is the first again: its result is known.
        """
        if self._spec.repeats is None:
            return config, None
        stored = as_stored(trial)
        repeat = stored.user_attrs.get(attributes.REPEAT)
        if repeat is None:
            own = by_configuration(self._study.get_trials(deepcopy=False)).get(key_of(stored.params), {})
            repeat = next((each for each in range(1, self._spec.trainings + 1) if each not in own), 1)
            trial.set_user_attr(attributes.REPEAT, repeat)
        return config.replaced(seed=self._spec.first_seed + repeat - 1), repeat

    def unfinished(self) -> set[int]:
        """The trials of configurations that are still trained: one of them may come to stand for all."""
        if self._spec.repeats is None:
            return set()
        each, behind = self._looked_at(len(self._study.get_trials(deepcopy=False)))
        going_on = [
            one
            for key, one in each.items()
            if key not in behind and not one.is_out and (one.is_running or self._lacks(one))
        ]
        return {trial.number for one in going_on for trial in one.trainings.values()}

    def news(self) -> list[str]:
        """Sentences about configurations that have fallen behind since it was asked the last time."""
        if self._spec.repeats is None:
            return []
        each, behind = self._looked_at(len(self._study.get_trials(deepcopy=False)))
        new = {key: words for key, words in behind.items() if key not in self._told and self._lacks(each[key])}
        self._told |= new.keys()
        return list(new.values())

    @property
    def words(self) -> str:
        """How many configurations are trained less often than others; empty where all have had all their trainings."""
        if self._spec.repeats is None:
            return ""
        each, behind = self._looked_at(len(self._study.get_trials(deepcopy=False)))
        fallen = sum(self._lacks(each[key]) for key in behind)
        out = sum(one.is_out and self._lacks(one) for one in each.values())
        if not fallen + out:
            return ""
        words = [f"{fallen} fell behind"] * bool(fallen) + [f"{out} had a training that did not complete"] * bool(out)
        were = "was" if fallen + out == 1 else "were"
        return (
            f"of {counted(len(each), 'configuration')} {' and '.join(words)}, and {were} not trained "
            f"{self._spec.trainings} times"
        )

    def _lacks(self, course: Course) -> bool:
        return len(course.trainings) < self._spec.trainings

    def _looked_at(self, number: int) -> tuple[dict[Key, Course], dict[Key, str]]:
        """All configurations that have begun, as trial `number` may see them, and those that have fallen behind."""
        size = self._spec.deterministic
        until = math.inf if size is None else first_of_batch(number, size)
        each = courses(self._study.get_trials(deepcopy=False), self._spec, until)
        images = int((self._study.user_attrs.get(attributes.DATA) or {}).get("val_images") or 0)
        return each, fallen_behind(each, self._spec, images)
