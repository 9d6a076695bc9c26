"""Studies and trials as the database holds them, read-only and typed. Reports and `status` are written from these."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.storage import attributes
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document

FINISHED = ("COMPLETE", "PRUNED", "FAIL")
"""The states that count against the budget."""

Stored = bool | int | float | str


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    `value` is the objective: of the last finished epoch if the trial was pruned, None if it never finished one.
    `intermediate` is the objective after each finished epoch. `history` has one list per figure, one item per epoch.
    """

    number: int
    state: str
    value: float | None
    params: Mapping[str, Stored]
    config: Mapping[str, Stored]
    intermediate: Mapping[int, float]
    history: Mapping[str, Sequence[float]]
    epochs: int
    seconds: float
    parameters: int | None
    device: str | None
    precision: str | None
    reason: str | None
    error: str | None
    resumed_from: Sequence[int]
    started: datetime | None
    ended: datetime | None


@dataclass(frozen=True)
class StudyRecord:
    """One study with all its trials in the order of their numbers.

    `study` is Optuna's own object, for importances. `environment` and `data` are empty before the first run began.
    """

    name: str
    spec: StudySpec
    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    elapsed_seconds: float
    trials: Sequence[TrialRecord]
    study: optuna.Study

    @cached_property
    def counts(self) -> Counter[str]:
        """How many trials are in each state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def finished(self) -> int:
        """How many trials count against the budget."""
        return sum(self.counts[state] for state in FINISHED)

    @cached_property
    def best(self) -> TrialRecord | None:
        """The best trial that ran to its end; None if there is none."""
        complete = [trial for trial in self.trials if trial.state == "COMPLETE" and trial.value is not None]
        if not complete:
            return None
        sign = -1 if self.spec.objective.direction == "maximize" else 1
        return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def study_names(storage: BaseStorage) -> list[str]:
    """The names of all studies in the storage, whoever made them."""
    return sorted(optuna.get_all_study_names(storage))


def load_record(storage: BaseStorage, name: str) -> StudyRecord:
    """Read one study.

    Raises:
        UserError: if the storage has no study of that name, or another tool made it.
    """
    study = load_optuna_study(storage, name)
    attrs = study.user_attrs
    return StudyRecord(
        name=name,
        spec=read_spec(study),
        environment=attrs.get(attributes.ENVIRONMENT, {}),
        data=attrs.get(attributes.DATA, {}),
        elapsed_seconds=float(attrs.get(attributes.ELAPSED, 0.0)),
        trials=[_trial_record(trial) for trial in study.get_trials(deepcopy=False)],
        study=study,
    )


def load_optuna_study(storage: BaseStorage, name: str) -> optuna.Study:
    """Optuna's own object.

    Raises:
        UserError: if the storage has no study of that name.
    """
    names = study_names(storage)
    if name not in names:
        known = f"it holds {', '.join(names)}" if names else "it holds none yet"
        raise UserError(Problem(f"the storage has no study {name!r}; {known}", nearest=nearest_name(name, names)))
    return optuna.load_study(study_name=name, storage=storage)


def read_spec(study: optuna.Study) -> StudySpec:
    """The specification that is stored with the study. What it describes of its plugins is in force afterwards.

    Raises:
        UserError: if another tool made the study, or another version wrote what this one cannot read.
    """
    plain = study.user_attrs.get(attributes.SPEC)
    if not isinstance(plain, dict):
        raise UserError(Problem(f"the study {study.study_name!r} was not made by cifar-tune"))
    return read_study(Document(plain), f"the stored study {study.study_name!r}", is_stored=True).spec


def _trial_record(trial: FrozenTrial) -> TrialRecord:
    attrs = trial.user_attrs
    started: datetime | None = trial.datetime_start
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        value=trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        params=trial.params,
        config=attrs.get(attributes.CONFIG, {}),
        intermediate=trial.intermediate_values,
        history=attrs.get(attributes.HISTORY, {}),
        epochs=max([int(attrs.get(attributes.EPOCHS, 0)), *trial.intermediate_values]),
        seconds=float(attrs.get(attributes.SECONDS, 0.0)),
        parameters=attrs.get(attributes.PARAMETERS),
        device=attrs.get(attributes.DEVICE),
        precision=attrs.get(attributes.PRECISION),
        reason=attrs.get(attributes.REASON),
        error=attrs.get(attributes.ERROR),
        resumed_from=attrs.get(attributes.RESUMED_FROM, ()),
        started=started,
        ended=trial.datetime_complete,
    )
