"""`cifar-tune run --evolve`: the trials of a study go over into a changed specification, as far as they fit it.

The study as it was stays in the storage, as `NAME@1`. A process that is killed on the way leaves it as it was.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError
from cifar_tune.knobs.plugin import plug_in
from cifar_tune.optuna_internals import QMC_COUNTER, study_id
from cifar_tune.storage import attributes
from cifar_tune.storage.lease import Lease
from cifar_tune.storage.openings import TRIAL_STUDY
from cifar_tune.storage.records import read_spec
from cifar_tune.storage.urls import checkpoint_file, made_staged_folder, staged_folder
from cifar_tune.storage.versions import copy_name, next_version, put_in_place, remove_copy
from cifar_tune.study.carrying import Carried, carry, keeps_samplers_notes
from cifar_tune.study.estimate import counted
from cifar_tune.study.misfits import misfits
from cifar_tune.study.opening import compare_images, create, stored_study
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.specification import StudySpec

Say = Callable[[str], None]

_MOST_NUMBERS = 12


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
    plug_in(spec.plugins)  # reading the stored one has put its own in force
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
    made.set_user_attr(attributes.EVOLVED, _summary(carried, version, number))
    _stage_checkpoints(spec.name, number, carried.trials)
    lease.renew()  # nobody else may have taken the study over meanwhile
    put_in_place(storage, spec.name, version)
    for sentence in _sentences(spec.name, carried, version):
        say(sentence)


def finish_evolution(storage: RDBStorage, study: str) -> str | None:
    """Put checkpoints in place that belong to the trials' new numbers, and remove what a killed run left unfinished.

    Returns:
        What there is to say of it.

    Raises:
        CheckError: if the checkpoints cannot be moved.
    """
    was_killed = remove_copy(storage, study)
    if study in optuna.get_all_study_names(storage):
        summary = optuna.load_study(study_name=study, storage=storage).user_attrs.get(attributes.EVOLVED)
        staged = staged_folder(study, summary["version"]) if summary else None
        if staged is not None and staged.is_dir():
            _put_checkpoints_in_place(study, staged)
    if not was_killed:
        return None
    return "an earlier run was killed while it carried trials over (--evolve): the study is as it was before"


def _put_checkpoints_in_place(study: str, staged: Path) -> None:
    """Done again by the next run where it was not finished: until the last step, the staged folder is whole."""
    present = checkpoint_file(study, 0).parent
    try:
        if present.is_dir():
            shutil.rmtree(present)
        staged.rename(present)
    except OSError as error:
        raise CheckError(f"the checkpoints of {staged} cannot be put into {present}: {error.strerror}") from error


def _study_attributes(attrs: Mapping[str, Any], carried: Carried, version: str) -> dict[str, Any]:
    """What is known of the study, with the trials whose configurations were tested under their new numbers."""
    numbers = {trial.user_attrs[attributes.CARRIED_FROM]["number"]: trial.number for trial in carried.trials}
    found = {key: value for key, value in attrs.items() if key not in (attributes.SPEC, attributes.EVOLVED)}
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


def _stage_checkpoints(study: str, version: int, trials: Sequence[FrozenTrial]) -> None:
    """Give the carried trials' checkpoints their new numbers, in a folder of their own for now."""
    try:
        folder = made_staged_folder(study, version)
        for trial in trials:
            before = checkpoint_file(study, trial.user_attrs[attributes.CARRIED_FROM]["number"])
            after = folder / checkpoint_file(study, trial.number).name
            if before.is_file():
                _link(str(before), str(after))
    except OSError as error:
        raise CheckError(f"the checkpoints cannot be copied, so nothing was changed: {error}") from error


def _link(before: str, after: str) -> None:
    try:
        os.link(before, after)
    except OSError:  # not on every file system
        shutil.copyfile(before, after)
