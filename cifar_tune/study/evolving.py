"""`cifar-tune run --evolve`: carries the trials of a study over into a changed specification where they fit it.

The study as it was stays in the storage, as `NAME@1`. If the process is killed before the end, the study is as it was.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL

from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import CheckError
from cifar_tune.knobs.configuration import as_it_ran
from cifar_tune.optuna_internals import ENQUEUED, QMC_COUNTER, RUNG, study_id
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import violation_attributes, was_finished_elsewhere, without_violations
from cifar_tune.storage.figures import stored_figures
from cifar_tune.storage.lease import Lease
from cifar_tune.storage.openings import TRIAL_STUDY
from cifar_tune.storage.stored_studies import find_optuna_study, read_spec, while_it_is_there
from cifar_tune.storage.urls import checkpoints_in, study_folder
from cifar_tune.storage.versions import copy_name, next_version, put_in_place, remove_copy
from cifar_tune.study.asking import distribution, refusal
from cifar_tune.study.checkpoints import checkpoints_of, take_over
from cifar_tune.study.folder_claim import new_identity, own_folder, remove_folder
from cifar_tune.study.opening import compare_images, create, misfits, stored_study, with_its_defaults
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.difference import (
    Misfit,
    differences,
    items_run_already,
    measured_by_changed_plugin,
    suggested_for,
    uses_changed_plugin,
)
from cifar_tune.study_spec.settings import PrunerSpec
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted


@dataclass
class Carried:
    """Which trials go over and which do not.

    Attributes:
        trials: as trials of the new specification, without their new attributes of samplers and pruners.
        left: why others stay behind, with their numbers.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    left: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def carry(trials: Sequence[FrozenTrial], before: StudySpec, after: StudySpec, version: str) -> Carried:
    """Sort the trials of a study, in the order of their numbers.

    Args:
        trials: of the study as it was.
        before: the specification that they were run with.
        after: the one that they are to belong to.
        version: the name under which the study as it was is kept.
    """
    carried = Carried()
    known: set[int] = set()
    kept: list[tuple[FrozenTrial, FrozenTrial]] = []
    for trial in trials:
        if attributes.CONFIG not in trial.user_attrs:
            again = _not_begun(trial, after)
        elif was_finished_elsewhere(trial):
            again = Misfit("another program ended it")
        else:
            again = _begun(trial, before, after, known)
        if isinstance(again, FrozenTrial):
            earlier = trial.user_attrs.get(attributes.CARRIED_FROM, {"sampler": before.sampler.name})
            drawn_by = {"sampler": earlier["sampler"]} if "sampler" in earlier else {}
            again.user_attrs[attributes.CARRIED_FROM] = {"study": version, "number": trial.number, **drawn_by}
            again.number = len(kept)
            kept.append((trial, again))
        elif again is not None:
            carried.left[again.reason].append(trial.number)
    same_numbers = all(trial.number == again.number for trial, again in kept)
    for trial, again in kept:
        again.system_attrs |= _of_sampler_and_pruner(trial, again, before, after, same_numbers)
        carried.trials.append(again)
    return carried


def keeps_samplers_notes(before: StudySpec, after: StudySpec, same_numbers: bool) -> bool:
    """Whether what a sampler has noted of trials still holds: it names them by number, and parameters by position."""
    return same_numbers and (before.sampler, before.search_space, before.train) == (
        after.sampler,
        after.search_space,
        after.train,
    )


def _not_begun(trial: FrozenTrial, after: StudySpec) -> FrozenTrial | Misfit | None:
    """Enqueued trials wait again; None where there is nothing to carry."""
    if trial.state.is_finished():
        return Misfit("another program made it, or it was refused before it began")
    if ENQUEUED not in trial.system_attrs or trial.user_attrs.keys() & {
        attributes.START_FROM,
        attributes.TRANSFERRED_FROM,
    }:
        return None  # nothing of it was trained; what `start_from` and `transfer_from` give is enqueued again
    reason = refusal(trial, after)
    if reason is not None:
        return Misfit(f"it was enqueued, and {reason}")
    again = copy.copy(trial)
    again.state = TrialState.WAITING
    again.params, again.distributions, again.datetime_start = {}, {}, None
    again.user_attrs = dict(trial.user_attrs)
    again.system_attrs = {ENQUEUED: trial.system_attrs[ENQUEUED]}
    return again


def _begun(trial: FrozenTrial, before: StudySpec, after: StudySpec, known: set[int]) -> FrozenTrial | Misfit:
    config: Mapping[str, Any] = trial.user_attrs[attributes.CONFIG]
    plugin = uses_changed_plugin(config, before.plugins, after.plugins) or measured_by_changed_plugin(before, after)
    if plugin is not None:
        return Misfit(f"it uses parts of {plugin}, whose code has changed")
    repeat = _repeat(config, after)
    params = suggested_for(after.space, config if repeat is None else {**config, "seed": after.first_seed})
    if isinstance(params, Misfit):
        return params
    figures = stored_figures(trial.user_attrs, after)
    judged = violations([each for each in after.constraints if each.metric in figures], figures)
    if trial.user_attrs.get(attributes.REASON) == "infeasible":
        if all(violation <= 0 for violation in judged.values()):
            return Misfit("its model was too large to be trained, and would not be now")
    else:
        judged = violations(after.constraints, figures)
    again = copy.copy(trial)
    again.params = dict(params)
    again.distributions = {name: distribution(after, name) for name in params}
    again.user_attrs = {
        key: value
        for key, value in trial.user_attrs.items()
        if key not in (attributes.START_FROM, attributes.REPEATS, attributes.REPEAT)
    }
    if after.pruner != before.pruner:
        again.user_attrs.pop(attributes.PAUSED, None)  # it goes on like one that was parked
    if repeat is not None:
        again.user_attrs[attributes.REPEAT] = repeat
    if figures and after.keeps_metrics:
        again.user_attrs[attributes.METRICS] = figures
    item = _item(trial, before, after, known)
    if item is not None:
        known.add(item)
        again.user_attrs[attributes.START_FROM] = item
    again.system_attrs = {key: value for key, value in trial.system_attrs.items() if key == ENQUEUED}
    if trial.state.is_finished():
        again.system_attrs |= violation_attributes(judged, after.sampler)
    return again


def _repeat(config: Mapping[str, Any], after: StudySpec) -> int | None:
    """Which training of its configuration a trial is from now on, by its seed; None where it is none of them."""
    repeat = int(config.get("seed", 0)) - after.first_seed + 1
    return repeat if after.repeats is not None and 1 <= repeat <= after.trainings else None


def _item(trial: FrozenTrial, before: StudySpec, after: StudySpec, known: set[int]) -> int | None:
    """Which item of the new `start_from` the trial is, so that it is not run twice."""
    own = trial.user_attrs.get(attributes.START_FROM)
    same = [index for index, item in enumerate(after.start_from) if own is not None and item == before.start_from[own]]
    config = as_it_ran(trial.user_attrs[attributes.CONFIG], before.vocabulary)
    found = [*same, *items_run_already(after, config)]
    return next((index for index in found if index not in known), None)


def _of_sampler_and_pruner(
    trial: FrozenTrial, again: FrozenTrial, before: StudySpec, after: StudySpec, same_numbers: bool
) -> dict[str, Any]:
    keeps_rungs = (before.pruner, before.largest_epochs) == (after.pruner, after.largest_epochs) and (
        trial.number == again.number or not _deals_by_number(after.pruner)
    )
    keeps_notes = keeps_samplers_notes(before, after, same_numbers)
    return {
        key: value
        for key, value in without_violations(trial.system_attrs).items()
        if key != ENQUEUED and (keeps_rungs if key.startswith(RUNG) else keeps_notes)
    }


def _deals_by_number(pruner: PrunerSpec) -> bool:
    """Hyperband deals trials into brackets by their numbers, and a rung means another epoch in each bracket."""
    return "hyperband" in (pruner.name, pruner.wrapped.name if pruner.wrapped else "")


Say = Callable[[str], None]

_MOST_NUMBERS = 12
_OF_ONE_VERSION = (
    attributes.SPEC,
    attributes.EVOLVED,
    attributes.IDENTITY,
    attributes.STOPPED,
    attributes.STOP_SINCE,
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What `evolve_study` would do, as sentences.

    Attributes:
        changes: what differs between the stored study and the study file.
        consequences: which trials would go over, and which would stay.
    """

    changes: Sequence[str] = ()
    consequences: Sequence[str] = ()


def previewed(storage: RDBStorage, spec: StudySpec) -> Preview:
    """What `evolve_study` would do.

    Changes nothing. Empty where there is nothing to carry over: no study of that name, or none that differs.

    Raises:
        UserError: if the objective is another one, or something else with which nothing could be carried over.
    """
    spec = with_its_defaults(storage, spec)
    study = stored_study(storage, spec, evolve=True)
    if study is None:
        return Preview()
    with while_it_is_there(storage, spec.name):
        attrs, trials = study.user_attrs, study.get_trials(deepcopy=False)
        if attributes.SPEC not in attrs:
            return Preview()
        before = read_spec(study)
    different = differences(before, spec)
    if not different and not misfits(trials, spec):
        return Preview()
    last = attrs.get(attributes.EVOLVED, {}).get("version", 0)
    version, _ = next_version(storage, spec.name, last)
    carried = carry(trials, before, spec, version)
    return Preview([f"changed: {each}" for each in different], _sentences(spec.name, carried, version, is_done=False))


@dataclass
class Attempt:
    """What an attempt puts in place at its end, and what there is to say of that.

    If the database went away just then, its answer may be lost, and nobody knows whether it has happened. So the next
    attempt looks whether the study has this identity.
    """

    identity: str = ""
    sentences: Sequence[str] = ()


def evolve_study(
    storage: RDBStorage, spec: StudySpec, data: PreparedData, lease: Lease, say: Say, attempt: Attempt | None = None
) -> None:
    """Make the stored study one of this specification, if it is another one; the caller holds its lease.

    Says how many trials were carried over, and why others were not.

    Args:
        storage: that holds the study.
        spec: the specification.
        data: its images.
        lease: of the study.
        say: is given messages for people.
        attempt: the same for all attempts, where this is repeated after an error of the database.

    Raises:
        UserError: if objective or images are others.
        CheckError: if the lease was lost, or checkpoints cannot be copied.
    """
    attempt = attempt or Attempt()
    study = stored_study(storage, spec, evolve=True)
    if study is None or attributes.SPEC not in study.user_attrs:
        return
    if attempt.identity and study.user_attrs.get(attributes.IDENTITY) == attempt.identity:
        _say_all(say, attempt.sentences)
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
    made.set_user_attr(attributes.SPEC, spec.stored())
    attempt.identity = new_identity()
    made.set_user_attr(attributes.IDENTITY, attempt.identity)
    made.set_user_attr(attributes.STOP_SINCE, len(carried.trials))  # what was tried says nothing of a larger space
    made.set_user_attr(attributes.EVOLVED, _summary(carried, version, number))
    _give_checkpoints(study, made, spec.name, carried.trials)
    lease.renew()  # nobody else may have taken the study over meanwhile
    attempt.sentences = _sentences(spec.name, carried, version)
    put_in_place(storage, spec.name, version)
    _say_all(say, attempt.sentences)


def _say_all(say: Say, sentences: Iterable[str]) -> None:
    for sentence in sentences:
        say(sentence)


def finish_evolution(storage: RDBStorage, study: str, url: URL) -> str | None:
    """Remove what a killed run left unfinished, and checkpoints that nobody needs any more.

    Returns:
        What there is to say of it.
    """
    copy = find_optuna_study(storage, copy_name(study))
    if copy is not None:
        _remove_folder(copy, storage, url)
        remove_copy(storage, study)
    present = find_optuna_study(storage, study)
    summary = present.user_attrs.get(attributes.EVOLVED) if present is not None else None
    earlier = find_optuna_study(storage, summary["from"]) if summary else None
    if earlier is not None:  # it is not run any more
        _remove_folder(earlier, storage, url)
    if copy is None or present is None:  # with a copy alone, a study was about to begin
        return None
    return "an earlier run was killed while it carried trials over (--evolve): the study is as it was before"


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
        if not key.startswith(attributes.TEST_OPENING) or opening is None or opening["trial"] is None:
            continue  # a configuration from a file has no number
        if opening.get(TRIAL_STUDY) is None:
            is_here = opening["trial"] in numbers
            moved = {"trial": numbers[opening["trial"]]} if is_here else {TRIAL_STUDY: version}
            found[key] = opening | moved
    return found


def _summary(carried: Carried, version: str, number: int) -> dict[str, Any]:
    left = sum(len(numbers) for numbers in carried.left.values())
    return {"from": version, "version": number, "carried": len(carried.trials), "left": left}


def _sentences(study: str, carried: Carried, version: str, is_done: bool = True) -> list[str]:
    finished = sum(trial.state.is_finished() for trial in carried.trials)
    others = len(carried.trials) - finished
    left = sum(len(numbers) for numbers in carried.left.values())
    parked = f", and {others} that had not ended" if others else ""
    evolves, kept = ("has evolved", "is kept") if is_done else ("would evolve", "would be kept")
    sentences = [
        f"{study} {evolves}: {counted(finished, 'finished trial')} carried over{parked}; {left} left behind. "
        f"The study as it was {kept} as {version}"
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
