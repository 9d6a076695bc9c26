"""`cifar-tune run --evolve`: the trials of a study go over into a changed specification, as far as they fit it.

The study as it was stays in the storage, as `NAME@1`. A process that is killed on the way leaves it as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError
from cifar_tune.optuna_internals import QMC_COUNTER, study_id
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import Lease
from cifar_tune.storage.openings import TRIAL_STUDY
from cifar_tune.storage.records import read_spec
from cifar_tune.storage.urls import checkpoints_in, study_folder
from cifar_tune.storage.versions import copy_name, next_version, put_in_place, remove_copy
from cifar_tune.study.carrying import Carried, carry, keeps_samplers_notes
from cifar_tune.study.checkpoints import checkpoints_of, take_over
from cifar_tune.study.estimate import counted
from cifar_tune.study.folder_claim import new_identity, own_folder, remove_folder
from cifar_tune.study.misfits import misfits
from cifar_tune.study.opening import compare_images, create, stored_study
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.specification import StudySpec

Say = Callable[[str], None]

_MOST_NUMBERS = 12
_OF_ONE_VERSION = (attributes.SPEC, attributes.EVOLVED, attributes.IDENTITY)


def evolve_study(storage: RDBStorage, spec: StudySpec, data: PreparedData, lease: Lease, say: Say) -> None:
    """Make the stored study one of this specification, if it is another one; the caller holds its lease.

    Says how many trials were carried over, and why others were not.

    Raises:
        UserError: if objective or images are others.
        CheckError: if the lease was lost, or checkpoints cannot be copied.
    """
    study = stored_study(storage, spec, evolve=True)
    if study is None or attributes.SPEC not in study.user_attrs:
        return
    before = read_spec(study)
    trials = study.get_trials(deepcopy=False)
    if not differences(before, spec) and not misfits(trials, spec):
        return
    compare_images(study, spec, data)
    remove_copy(storage, spec.name)
    last = study.user_attrs.get(attributes.EVOLVED, {}).get("version", 0)
    version, number = next_version(storage, spec.name, last)
    carried = carry(trials, before, spec, version)
    made = create(storage, spec, copy_name(spec.name))
    for trial in carried.trials:
        lease.renew_if_due()
        storage.create_new_trial(study_id(made), trial)
    same_numbers = len(carried.trials) == len(trials)
    for key, value in _study_attributes(study.user_attrs, carried, version).items():
        made.set_user_attr(key, value)
    for key, value in storage.get_study_system_attrs(study_id(study)).items():
        if key.startswith(QMC_COUNTER) or keeps_samplers_notes(before, spec, same_numbers):
            storage.set_study_system_attr(study_id(made), key, value)
    made.set_user_attr(attributes.SPEC, spec.plain())
    made.set_user_attr(attributes.IDENTITY, new_identity())
    made.set_user_attr(attributes.EVOLVED, _summary(carried, version, number))
    _give_checkpoints(study, made, spec.name, carried.trials)
    lease.renew()  # nobody else may have taken the study over meanwhile
    put_in_place(storage, spec.name, version)
    for sentence in _sentences(spec.name, carried, version):
        say(sentence)


def finish_evolution(storage: RDBStorage, study: str, url: URL) -> str | None:
    """Remove what a killed run left unfinished, and checkpoints that nobody needs any more.

    Returns:
        What there is to say of it.
    """
    copy = _loaded(storage, copy_name(study))
    if copy is not None:
        _remove_folder(copy, storage, url)
        remove_copy(storage, study)
    present = _loaded(storage, study)
    summary = present.user_attrs.get(attributes.EVOLVED) if present is not None else None
    earlier = _loaded(storage, summary["from"]) if summary else None
    if earlier is not None:  # it is not run any more
        _remove_folder(earlier, storage, url)
    if copy is None:
        return None
    return "an earlier run was killed while it carried trials over (--evolve): the study is as it was before"


def _loaded(storage: RDBStorage, name: str) -> optuna.Study | None:
    if name not in optuna.get_all_study_names(storage):
        return None
    return optuna.load_study(study_name=name, storage=storage)


def _remove_folder(study: optuna.Study, storage: RDBStorage, url: URL) -> None:
    folder = own_folder(study.study_name, study.user_attrs, storage, url)
    if folder is not None:
        remove_folder(folder)


def _study_attributes(attrs: Mapping[str, Any], carried: Carried, version: str) -> dict[str, Any]:
    """What is known of the study, with the trials whose configurations were tested under their new numbers."""
    numbers = {trial.user_attrs[attributes.CARRIED_FROM]["number"]: trial.number for trial in carried.trials}
    found = {key: value for key, value in attrs.items() if key not in _OF_ONE_VERSION}
    found[attributes.ELAPSED] = round(sum(float(t.user_attrs.get(attributes.SECONDS, 0.0)) for t in carried.trials), 1)
    for key, opening in found.items():
        if key.startswith(attributes.TEST_OPENING) and opening is not None and opening.get(TRIAL_STUDY) is None:
            is_here = opening["trial"] in numbers
            moved = {"trial": numbers[opening["trial"]]} if is_here else {TRIAL_STUDY: version}
            found[key] = opening | moved
    return found


def _summary(carried: Carried, version: str, number: int) -> dict[str, Any]:
    left = sum(len(numbers) for numbers in carried.left.values())
    return {"from": version, "version": number, "carried": len(carried.trials), "left": left}


def _sentences(study: str, carried: Carried, version: str) -> list[str]:
    finished = sum(trial.state.is_finished() for trial in carried.trials)
    others = len(carried.trials) - finished
    left = sum(len(numbers) for numbers in carried.left.values())
    parked = f", and {others} that had not ended" if others else ""
    sentences = [
        f"{study} has evolved: {counted(finished, 'finished trial')} carried over{parked}; {left} left behind. "
        f"The study as it was is kept as {version}"
    ]
    for reason, numbers in sorted(carried.left.items(), key=lambda entry: (-len(entry[1]), entry[1])):
        shown = ", ".join(str(number) for number in numbers[:_MOST_NUMBERS])
        more = f" and {len(numbers) - _MOST_NUMBERS} more" if len(numbers) > _MOST_NUMBERS else ""
        sentences.append(f"left behind: trial {shown}{more}: {reason}")
    return sentences


def _give_checkpoints(before: optuna.Study, after: optuna.Study, name: str, trials: Sequence[FrozenTrial]) -> None:
    """Give the carried trials their checkpoints, under their new numbers, in the folder of the study that is made."""
    numbers = {trial.user_attrs[attributes.CARRIED_FROM]["number"]: trial.number for trial in trials}
    folder = checkpoints_in(study_folder(name, after.user_attrs[attributes.IDENTITY]))
    try:
        folder.mkdir(parents=True)
        take_over(checkpoints_of(before), folder, numbers)
    except OSError as error:
        raise CheckError(f"the checkpoints cannot be copied, so nothing was changed: {error}") from error
