"""Whether what a database holds of a study makes sense.

A disk, a copy that was cut short or another program may have changed any row. Everything is read through here, so that
no command calculates with what is left, or ends in a traceback: it says what is wrong, where, and what can be done.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from cifar_tune.errors import DamagedError, Problem, UserError
from cifar_tune.knobs.knob import Kind
from cifar_tune.optuna_internals import CONSTRAINT, CONSTRAINTS_OF_OPTUNA_4, RUNG
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.optuna_tables import Parts, SenselessError, cannot_be_there
from cifar_tune.storage import attributes
from cifar_tune.storage.openings import numbers_of_openings
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.training.results import FIGURES

Check = Callable[[object], bool]
"""Whether a value is what it should be."""


class CheckedStorage(BatchStorage):
    """A storage that refuses what makes no sense. Studies of other programs are not checked."""

    def get_study_id_from_name(self, study_name: str) -> int:
        """The id of a study.

        Raises:
            KeyError: there is none of this name.
            UserError: the database takes the name for that of another study, as MySQL does where only the case differs.
        """
        try:
            study = super().get_study_id_from_name(study_name)
        except StorageInternalError as error:
            if isinstance(error.__cause__, DBAPIError) and cannot_be_there(error.__cause__):
                raise KeyError(study_name) from error
            raise
        if self.engine.dialect.name in ("mysql", "mariadb"):
            there = self.get_study_name_from_id(study)
            if there != study_name:
                rule = f"this database cannot tell the name from {there!r}, a study that it holds; use another name"
                raise UserError(Problem(rule, study_name))
        return study

    def check_trial(self, study_id: int, trial: FrozenTrial, parts: Parts) -> None:
        """See `check_trial`."""
        try:
            check_trial(trial, parts)
        except SenselessError:
            if self._is_ours(study_id):
                raise

    def check_study(self, user_attrs: Mapping[str, Any]) -> None:
        """See `check_study`."""
        if attributes.SPEC in user_attrs:
            check_study(user_attrs)

    def _is_ours(self, study_id: int) -> bool:
        try:
            return attributes.SPEC in self.get_study_user_attrs(study_id)
        except DamagedError:
            return True


def check_trial(trial: FrozenTrial, parts: Parts) -> None:
    """See that a trial, of which `parts` were read, has what a trial can have.

    Raises:
        SenselessError: naming what is wrong.
    """
    _check_values(trial)
    for step in trial.intermediate_values:
        if not _is_whole(step):
            raise SenselessError(f"one of its reports is after epoch {_shown(step)}")
    is_ours = attributes.CONFIG in trial.user_attrs  # else another program made it, and may use some of our names
    for key, value in trial.user_attrs.items():
        rule, is_right = _TRIAL.get(key) or (_PIECE if _is_history_piece(key) else _ANYTHING)
        if is_right(value) or (value is None and key in parts.bare) or (key in _ONLY_SHOWN and not is_ours):
            continue
        raise SenselessError(f"its attribute {key!r} is {_shown(value)}, and must be {rule}")
    for key, value in trial.system_attrs.items():
        if key.startswith((CONSTRAINT, RUNG)) and not _is_number(value):
            raise SenselessError(f"its attribute {key!r} is {_shown(value)}, and must be a number")
        # Optuna writes None where a function for constraints has raised
        if key == CONSTRAINTS_OF_OPTUNA_4 and value is not None and not _are_numbers(value):
            raise SenselessError(f"its attribute {key!r} is {_shown(value)}, and must be a list of numbers")


def _check_values(trial: FrozenTrial) -> None:
    values: Sequence[float] = trial.values or ()
    if not _are_numbers(values) or any(math.isnan(value) for value in values):
        raise SenselessError(f"its values are {_shown(list(values))}, and must be numbers")
    if trial.state == TrialState.COMPLETE and not values:
        raise SenselessError("it is complete, and has no value")


def check_trials(trials: Sequence[FrozenTrial], objectives: int) -> None:
    """See that these are all trials of a study, with as many values as it has objectives.

    Raises:
        SenselessError: naming what is wrong.
    """
    numbers = sorted(trial.number for trial in trials)
    for expected, number in enumerate(numbers):
        if number > expected:
            raise SenselessError(f"trial {expected} is missing, though there is a trial {numbers[-1]}")
        if number < expected:
            raise SenselessError(f"there are two trials with the number {number}")
    check_values(trials, objectives)


def check_values(trials: Iterable[FrozenTrial], objectives: int) -> None:
    """See that trials that have values have one for each objective.

    Raises:
        SenselessError: naming what is wrong.
    """
    for trial in trials:
        if trial.values is not None and len(trial.values) != objectives:
            raise SenselessError(f"trial {trial.number} has {len(trial.values)} values for {objectives} objectives")


def check_configurations(trials: Sequence[FrozenTrial], spec: StudySpec) -> None:
    """See that knobs that are numbers are numbers in the configurations of trials.

    A knob that is not known, or a number out of its bounds, may be one of another release.

    Raises:
        SenselessError: naming what is wrong.
    """
    numeric = {name for name, knob in spec.vocabulary.knobs.items() if knob.kind in (Kind.FLOAT, Kind.INT)}
    for trial in trials:
        for name, value in (trial.user_attrs.get(attributes.CONFIG) or {}).items():
            if type(value) not in _NUMBERS and name in numeric:
                raise SenselessError(f"trial {trial.number}: its {name} is {_shown(value)}, which is no number")


def check_study(user_attrs: Mapping[str, Any]) -> None:
    """See that the attributes of a study are what they can be.

    Raises:
        SenselessError: naming what is wrong.
    """
    for key, value in user_attrs.items():
        rule, is_right = _STUDY.get(key) or (_OPENING if _is_opening(key) else _ANYTHING)
        if key.startswith(attributes.TEST_ANALYSIS):
            rule, is_right = _TEXT
        if not is_right(value):
            raise SenselessError(f"its attribute {key!r} is {_shown(value)}, and must be {rule}")
    for expected, number in enumerate(numbers_of_openings(user_attrs)):
        if number != expected:
            raise SenselessError(f"its attribute {f'{attributes.TEST_OPENING}{expected + 1}'!r} is missing")


def _is_history_piece(key: str) -> bool:
    return key == attributes.HISTORY or (attributes.is_piece(key) and key.rpartition("_")[2].isdecimal())


def _is_opening(key: str) -> bool:
    return key.startswith(attributes.TEST_OPENING) and key.removeprefix(attributes.TEST_OPENING).isdecimal()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return type(value) is int and value >= 0


_NUMBERS = frozenset((int, float))


def _is_number(value: object) -> bool:
    return type(value) in _NUMBERS


def _are_numbers(values: object) -> bool:
    """Whether it is a list of numbers; there are many, so that each costs no call."""
    return isinstance(values, list | tuple) and set(map(type, values)) <= _NUMBERS


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and 0 <= value < math.inf


def _is_list_of(value: object, is_right: Check) -> bool:
    return isinstance(value, list) and all(map(is_right, value))


def _is_mapping_to(value: object, is_right: Check) -> bool:
    return isinstance(value, dict) and all(map(is_right, value.values()))


def _or_none(is_right: Check) -> Check:
    return lambda value: value is None or is_right(value)


def _is_scalar(value: object) -> bool:
    return type(value) in (bool, int, float, str)


def _is_config(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and _is_mapping_to(value, _is_scalar)


def _is_history(value: object) -> bool:
    if not _is_mapping_to(value, lambda figures: isinstance(figures, list)):
        return False
    return all(
        _are_numbers(figures if name in FIGURES else [each for each in figures if each is not None])
        for name, figures in value.items()  # type: ignore[attr-defined]
    )


def _has(value: object, **parts: Check) -> bool:
    """Whether it is a mapping in which each of these is right, if it is there."""
    return isinstance(value, dict) and all(is_right(value[name]) for name, is_right in parts.items() if name in value)


def _is_carried(value: object) -> bool:
    return isinstance(value, dict) and _is_text(value.get("study")) and _is_whole(value.get("number"))


def _is_transferred(value: object) -> bool:
    return isinstance(value, dict) and _is_text(value.get("study")) and _is_whole(value.get("trial"))


def _is_source(value: object) -> bool:
    parts: dict[str, Check] = {"trial": _is_whole, "value": _is_number, "config": _is_config}
    return isinstance(value, dict) and all(name in value and right(value[name]) for name, right in parts.items())


def _is_transfer(value: object) -> bool:
    parts: dict[str, Check] = {
        "study": _is_text, "configurations": _is_whole, "metric": _is_text,
        "sources": lambda sources: _is_list_of(sources, _is_source),
    }  # fmt: skip
    return isinstance(value, dict) and value.keys() >= parts.keys() and _has(value, **parts)


def _is_evolved(value: object) -> bool:
    return _has(value, version=_is_whole, carried=_is_whole, left=_is_whole) and _has(value, **{"from": _is_text})


def _is_stopped(value: object) -> bool:
    parts: dict[str, Check] = {
        "words": _is_text, "rule": lambda rule: isinstance(rule, dict), "finished": _is_whole, "budget": _is_whole,
    }  # fmt: skip
    return value is None or (isinstance(value, dict) and parts.keys() <= value.keys() and _has(value, **parts))


def _is_task(value: object) -> bool:
    parts = ("candidate", "block", "seed", "fold")
    return isinstance(value, dict) and value.keys() >= set(parts) and all(_is_whole(value[name]) for name in parts)


def _is_data(value: object) -> bool:
    return isinstance(value, dict) and (not value or "fingerprint" in value) and _has(
        value, fingerprint=_is_text, classes=lambda names: _is_list_of(names, _is_text), train_images=_is_whole,
        val_images=_is_whole, image_shape=lambda shape: _is_list_of(shape, _is_whole),
    )  # fmt: skip


def _are_networks(value: object) -> bool:
    parts: dict[str, Check] = {"seed": _is_whole, "test_loss": _or_none(_is_number), "test_accuracy": _is_number}
    return isinstance(value, list) and all(_has(each, **parts) and each.keys() >= parts.keys() for each in value)


def _are_failures(value: object) -> bool:
    parts: dict[str, Check] = {"seed": _is_whole, "reason": _is_text}
    return isinstance(value, list) and all(_has(each, **parts) and each.keys() >= parts.keys() for each in value)


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and _are_numbers(value) and len(value) == 2


def _is_one_opening(value: object) -> bool:
    optional: dict[str, Check] = {
        "test_images": _is_whole, "test_loss": _is_number, "test_accuracy": _is_number, "study": _is_text,
        "value": _is_number, "trial": _is_whole, "chosen": _is_text, "source": _is_text, "images": _is_text,
        "steps": _is_whole, "person": _is_text, "identity": _is_text, "test_fingerprint": _is_text,
        "test_metrics": lambda figures: _is_mapping_to(figures, _is_number),
        "networks": _are_networks, "failed_networks": _are_failures, "new_images": _is_interval,
        "same_images": _is_interval,
    }  # fmt: skip
    needed: dict[str, Check] = {
        "opened": _is_text, "host": _is_text, "cifar_tune": _is_text, "fingerprint": _is_text,
        "finished_trials": _is_whole, "config": _is_config, "seed": _is_whole, "epochs": _is_whole,
        "train_images": _is_whole, "device": _is_text, "precision": _is_text,
    }  # fmt: skip
    # fields too many or too few are those of another version, which `read_openings` tells
    return (
        isinstance(value, dict)
        and ("trial" not in value or value["trial"] is not None or _is_text(value.get("source")))
        and all(is_right(value[name]) for name, is_right in needed.items() if name in value)
        and all(is_right(value[name]) for name, is_right in optional.items() if value.get(name) is not None)
    )


_ANYTHING: tuple[str, Check] = ("anything", lambda _: True)
_COUNT: tuple[str, Check] = ("a whole number >= 0", _is_whole)
_SECONDS: tuple[str, Check] = ("a number of seconds", _is_amount)
_TEXT: tuple[str, Check] = ("text", _or_none(_is_text))
_PIECE: tuple[str, Check] = ("lists of numbers", _is_history)
_OPENING: tuple[str, Check] = ("an opening of the test set", _or_none(_is_one_opening))

_TRIAL: Mapping[str, tuple[str, Check]] = {
    attributes.CONFIG: ("a value for each knob", _is_config),
    attributes.START_FROM: _COUNT,
    attributes.CARRIED_FROM: ("a study and a number", _is_carried),
    attributes.TRANSFERRED_FROM: ("a study and a trial", _is_transferred),
    attributes.TASK: ("a planned training", _is_task),
    attributes.FAILED_ONCE: _TEXT,
    attributes.EPOCHS: _COUNT,
    attributes.SECONDS: _SECONDS,
    attributes.SPENT: _SECONDS,
    attributes.PARAMETERS: _COUNT,
    attributes.FLOPS: ("a number >= 0", _is_amount),
    attributes.METRICS: ("a number for each metric", lambda value: _is_mapping_to(value, _is_number)),
    attributes.DEVICE: _TEXT,
    attributes.PRECISION: _TEXT,
    attributes.MICRO_BATCHES: _COUNT,
    attributes.REASON: _TEXT,
    attributes.ERROR: _TEXT,
    attributes.PRUNED_AT: _COUNT,
    attributes.PAUSED: ("a whole number >= 0, or nothing", _or_none(_is_whole)),
    attributes.SPARED_AT: _COUNT,
    attributes.RESUMED_FROM: ("a list of whole numbers", lambda value: _is_list_of(value, _is_whole)),
    attributes.REPEATS: _COUNT,
    attributes.REPEAT: _COUNT,
}
"""Of each user attribute of a trial: what it must be, in words and as a check."""

_ONLY_SHOWN = (attributes.DEVICE, attributes.PRECISION)
"""With these nothing is calculated."""

_STUDY: Mapping[str, tuple[str, Check]] = {
    attributes.ENVIRONMENT: ("a mapping", lambda value: isinstance(value, dict)),
    attributes.DATA: ("a description of images", _is_data),
    attributes.ELAPSED: _SECONDS,
    attributes.IDENTITY: ("text", _is_text),
    attributes.EVOLVED: ("an account of run --evolve", _is_evolved),
    attributes.LINKED: ("a mapping", lambda value: isinstance(value, dict)),
    attributes.STOPPED: ("why the study was stopped", _is_stopped),
    attributes.STOP_SINCE: _COUNT,
    attributes.TRANSFER: ("configurations of an earlier study", _is_transfer),
}
"""The same of a study; its specification is read as study files are."""
