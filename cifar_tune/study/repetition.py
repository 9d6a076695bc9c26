"""A configuration that a study has trained to its end is not trained again: the trial takes over the earlier result.

Everything random in a training follows from its configuration, `seed` included, so the epochs would show nothing new.
On a CPU they would be the same to the bit; on a GPU some operations add up in an order of their own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.optuna_internals import as_stored
from cifar_tune.storage import attributes
from cifar_tune.storage.earlier_batches import first_of_batch
from cifar_tune.storage.histories import is_piece
from cifar_tune.storage.selection import write_violations
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.specification import StudySpec

_TAKEN_OVER = (
    attributes.PARAMETERS,
    attributes.FLOPS,
    attributes.METRICS,
    attributes.DEVICE,
    attributes.PRECISION,
    attributes.MICRO_BATCHES,
    attributes.EPOCHS,
    attributes.SPARED_AT,
)


class TrainedBefore:
    """The completed trials of a study by their configuration."""

    def __init__(self, trials: Iterable[FrozenTrial], spec: StudySpec) -> None:
        self._spec = spec
        self._by_config: dict[str, FrozenTrial] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: FrozenTrial) -> None:
        """Take note of a trial that has ended."""
        if trial.state == TrialState.COMPLETE and trial.user_attrs.get(attributes.REASON) == "completed":
            self._by_config.setdefault(_key(trial.user_attrs[attributes.CONFIG]), trial)

    def find(self, config: Configuration, number: int) -> FrozenTrial | None:
        """The trial that trial `number` would repeat; in `deterministic: N` one of an earlier batch."""
        found = self._by_config.get(_key(config.stored()))
        size = self._spec.deterministic
        if found is not None and size is not None and found.number >= first_of_batch(number, size):
            return None
        return found


def repeat(trial: optuna.Trial, earlier: FrozenTrial, spec: StudySpec) -> None:
    """Complete a trial with what an earlier one has shown.

    The pruner is asked, since successive halving writes down which rungs a trial has reached; what it says is of no
    use, since there is nothing to save.
    """
    attrs = earlier.user_attrs
    for name, value in attrs.items():
        if name in _TAKEN_OVER or is_piece(name):
            trial.set_user_attr(name, value)
    if not spec.has_several_objectives:
        reported = as_stored(trial).intermediate_values
        for epoch, value in sorted(earlier.intermediate_values.items()):
            if epoch not in reported:
                trial.report(value, epoch)
            trial.should_prune()
    trial.set_user_attr(attributes.SECONDS, 0.0)
    trial.set_user_attr(attributes.REPEATS, earlier.number)
    trial.set_user_attr(attributes.REASON, "repeated")
    write_violations(trial, violations(spec.constraints, attrs.get(attributes.METRICS, {})), spec.sampler)
    trial.study.tell(trial, earlier.values)


def _key(config: Mapping[str, Any]) -> str:
    return repr(sorted(config.items()))
