"""Creates a study, or opens the one that is there: compares it with its file and its images, and repairs it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

import cifar_tune
from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.spec import BEFORE_THERE_WAS_RESIZE
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.knobs.vocabulary import vocabulary_with
from cifar_tune.optuna_internals import RUNG, as_asked, study_id, trial_id
from cifar_tune.optuna_questions import distributions_of_study, user_attribute_of_trials
from cifar_tune.samplers.build import neutral_sampler
from cifar_tune.storage import attributes
from cifar_tune.storage.constraints import was_finished_elsewhere, write_violations
from cifar_tune.storage.stored_studies import find_optuna_study, load_optuna_study, read_spec, while_it_is_there
from cifar_tune.storage.versions import copy_name, name_new, remove_copy
from cifar_tune.storage.views import EarlierBatches
from cifar_tune.storage.write_behind import WriteBehindStorage
from cifar_tune.study.asking import distribution, enqueue_known
from cifar_tune.study.folder_claim import new_identity
from cifar_tune.study.transfer import Transfer, enqueue_transferred, kept_transfer
from cifar_tune.study_spec.automatic import sampler_words
from cifar_tune.study_spec.constraints import violations
from cifar_tune.study_spec.difference import Difference, differences, require_evolvable, why_not_evolvable
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import exact


def misfits(trials: Iterable[FrozenTrial], spec: StudySpec) -> dict[int, str]:
    """The numbers of trials in which a parameter is of another kind than here, with its name.

    Optuna takes no other trial beside them: it raises when it is given its first parameter.
    """
    ours = _distributions(spec)
    found: dict[int, str] = {}
    for trial in trials:
        for name, theirs in trial.distributions.items():
            if _is_misfit(name, theirs, ours):
                found.setdefault(trial.number, name)
    return found


def is_spoiled(distributions: Iterable[tuple[str, BaseDistribution]], spec: StudySpec) -> bool:
    """Whether one of these, which the parameters of a study's trials have, is of another kind than here."""
    ours = _distributions(spec)
    return any(_is_misfit(name, theirs, ours) for name, theirs in distributions)


def _distributions(spec: StudySpec) -> dict[str, BaseDistribution]:
    return {name: distribution(spec, name) for name in spec.search_space}


def _is_misfit(name: str, theirs: BaseDistribution, ours: Mapping[str, BaseDistribution]) -> bool:
    if name not in ours or theirs == ours[name]:
        return False
    try:
        check_distribution_compatibility(theirs, ours[name])
    except ValueError:
        return True
    return False


def refuse_misfits(trials: Iterable[FrozenTrial], spec: StudySpec) -> None:
    """Refuse to go on with a study in which another program has spoiled the search space.

    Raises:
        CheckError: naming the trials.
    """
    found = misfits(trials, spec)
    if found:
        numbers = ", ".join(str(number) for number in found)
        names = ", ".join(dict.fromkeys(found.values()))
        raise CheckError(
            f"another program wrote trial {numbers} into the study {spec.name!r}, with another kind of {names} than it "
            f"searches, and Optuna takes no further trial beside it. `cifar-tune run ... --evolve` leaves such "
            f"trials behind and goes on with the others"
        )


def repair(study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec) -> Iterator[str]:
    """Let no trial run, since nobody trains yet, and yield sentences about what there was to do.

    Pruned trials get the rest of their end; all others wait, and go on where their checkpoint ends.
    """
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in left:
        if attributes.PRUNED_AT in trial.user_attrs:  # the verdict was given, the rest of its end is missing
            _end_pruned(study, storage, spec, trial)
        else:
            storage.set_trial_state_values(trial_id(trial), TrialState.WAITING)
    orphans = [trial for trial in left if attributes.PRUNED_AT not in trial.user_attrs]
    foreign = [trial for trial in orphans if attributes.CONFIG not in trial.user_attrs]  # ours are created with it
    ours = [trial for trial in orphans if trial not in foreign]
    if ours:
        yield (f"an earlier run was killed while it trained trial {_numbers(ours)}: taken up where the checkpoint ends")
    if foreign:
        yield f"trial {_numbers(foreign)} was left running by another program: it begins again here"
    strangers = about_strangers(study.get_trials(deepcopy=False))
    if strangers is not None:
        yield strangers


def about_strangers(trials: Iterable[FrozenTrial]) -> str | None:
    """A sentence about those of the trials that another program finished; None if there are none."""
    strangers = [trial for trial in trials if was_finished_elsewhere(trial)]
    if not strangers:
        return None
    return (
        f"another program finished trial {_numbers(strangers)}: counted against the budget, and seen by the sampler, "
        f"but never the best, since nobody knows what was trained"
    )


def _end_pruned(study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec, trial: FrozenTrial) -> None:
    """Constraints are judged by the figures that were written down before the pruner was asked."""
    storage.set_trial_user_attr(trial_id(trial), attributes.REASON, "pruned")
    study.sampler = neutral_sampler()
    _note_rung(study, storage, spec, trial)
    figures = trial.user_attrs.get(attributes.METRICS, {})
    write_violations(as_asked(study, trial), violations(spec.constraints, figures), spec.sampler)
    last = trial.intermediate_values[max(trial.intermediate_values)]
    storage.set_trial_state_values(trial_id(trial), TrialState.PRUNED, [last])


def _note_rung(study: optuna.Study, storage: WriteBehindStorage, spec: StudySpec, trial: FrozenTrial) -> None:
    """Let successive halving note which rung the trial reached, if that was not written any more; others need it.

    It notes it when it is asked; what it says is known already. It must not be asked twice.
    """
    last = trial.intermediate_values[max(trial.intermediate_values)]
    rungs = sum(key.startswith(RUNG) for key in trial.system_attrs)
    if trial.system_attrs.get(f"{RUNG}{rungs - 1}") == last:
        return
    if spec.deterministic is not None:
        view = EarlierBatches(storage, trial.number, spec.deterministic, is_exhaustive=False)
        study = optuna.load_study(study_name=study.study_name, storage=view, pruner=study.pruner)
    as_asked(study, trial).should_prune()


def _numbers(trials: list[FrozenTrial]) -> str:
    return ", ".join(str(trial.number) for trial in trials)


def stored_study(storage: RDBStorage, spec: StudySpec, evolve: bool = False) -> optuna.Study | None:
    """The study of that name, if the storage has it.

    Args:
        storage: that may hold it.
        spec: of the study that is to run.
        evolve: the stored one may differ, unless no trial could be carried over.

    Raises:
        UserError: if it was made from another specification, listing what differs and the ways on.
    """
    study = find_optuna_study(storage, spec.name)
    if study is None:
        return None
    different = what_differs(storage, spec)
    if evolve:
        require_evolvable(spec.name, different)
    elif different:
        hint = "" if why_not_evolvable(different) else "carry over the trials that fit, with --evolve; "
        ways = (
            f"Nothing was run. Either {hint}give this one another name (`name:` in the file, or --set name=...); or "
            f"remove the stored one with: cifar-tune delete {spec.name}"
        )
        raise other_settings(spec.name, different, ways)
    return study


def what_differs(storage: RDBStorage, spec: StudySpec) -> list[Difference]:
    """What tells a specification apart from that of the stored study of its name, which must be there.

    Raises:
        UserError: another tool made the study, or it was deleted a moment ago.
    """
    study = load_optuna_study(storage, spec.name)
    with while_it_is_there(storage, spec.name):
        if not study.user_attrs and not study.get_trials(deepcopy=False):
            return []  # its creator was stopped between two statements
        return differences(read_spec(study), spec)


def other_settings(name: str, different: Sequence[Difference], ways: str) -> UserError:
    """The error of a study that is stored with other settings; `ways` says how people can go on."""
    lines = "\n".join(f"  {difference}" for difference in different)
    return UserError(f"the storage holds a study {name!r} with other settings (stored -> given):\n{lines}\n{ways}")


def with_its_defaults(storage: RDBStorage, spec: StudySpec) -> StudySpec:
    """The specification, with the defaults that the stored study began with; unchanged if there is none of that name.

    So a study goes on as it began where a later version of this program has another default.
    """
    study = find_optuna_study(storage, spec.name)
    if study is None:
        return spec
    with while_it_is_there(storage, spec.name):
        if attributes.SPEC not in study.user_attrs:
            return spec
        stored = read_spec(study)
    data = spec.data
    if data.resize is None and stored.data.resize == BEFORE_THERE_WAS_RESIZE:
        data = data.model_copy(update={"resize": stored.data.resize})
    pruner = stored.pruner if spec.pruner.is_default and _may_keep(stored, spec) else spec.pruner
    sampler = spec.sampler
    if sampler.is_automatic and stored.search_space == spec.search_space and _may_keep(stored, spec):
        sampler = replace(stored.sampler, seed=sampler.seed)
    vocabulary = vocabulary_with(spec.plugins, stored.vocabulary.earlier)
    return replace(spec, data=data, pruner=pruner, sampler=sampler, vocabulary=vocabulary)


def _may_keep(stored: StudySpec, spec: StudySpec) -> bool:
    """Whether the stored pruner can work with the objectives and batches of the file."""
    return (stored.objectives, stored.deterministic) == (spec.objectives, spec.deterministic)


def about_defaults(given: StudySpec, spec: StudySpec) -> Iterator[str]:
    """Sentences about the defaults that were others when the study began, and that its trials train with.

    Args:
        given: what the study file says.
        spec: the same `with_its_defaults`.
    """
    if given.data.resize != spec.data.resize:
        yield f"this study goes on as it began, with data.resize: {spec.data.resize}"
    if given.sampler != spec.sampler:
        samplers = f"sampler {sampler_words(spec.sampler)}; as a new study it would have {sampler_words(given.sampler)}"
        yield f"this study goes on as it began, with {samplers}"
    if given.pruner != spec.pruner:
        pruners = f"pruner {spec.pruner.name}; as a new study it would have {given.pruner.name}"
        yield f"this study goes on as it began, with {pruners}"
    named = spec.train.keys() | spec.search_space.keys()
    earlier = [name for name in sorted(spec.vocabulary.earlier - named) if spec.space.may_take(name)]
    if earlier:
        defaults = ", ".join(f"{name}: {exact(spec.vocabulary.knobs[name].default)}" for name in earlier)
        yield f"this study goes on as it began, with {defaults}; new studies have other defaults"


def open_study(
    storage: RDBStorage, spec: StudySpec, data: PreparedData, transfer: Transfer | None = None
) -> optuna.Study:
    """Create the study, or take up the stored one; the caller holds its lease.

    Args:
        storage: that holds it, or is to hold it.
        spec: the study.
        data: its images.
        transfer: what it takes from an earlier study, unless it has taken that already.

    Raises:
        UserError: if the stored one differs in its specification or in its images.
        CheckError: if another program has spoiled its search space.
    """
    study = stored_study(storage, spec)
    if study is not None and attributes.SPEC not in study.user_attrs:
        optuna.delete_study(study_name=spec.name, storage=storage)  # empty, and perhaps of another direction
        study = None
    if study is None:
        study = _create_described(storage, spec, data)
    else:
        compare_images(study, spec, data)
        _describe(study, spec, data)
    own = study_id(study)
    if is_spoiled(distributions_of_study(storage.engine, own), spec):
        refuse_misfits(study.get_trials(deepcopy=False), spec)
    enqueue_known(study, spec, user_attribute_of_trials(storage.engine, own, attributes.START_FROM).values())
    transfer = kept_transfer(study.user_attrs, spec) or transfer
    if transfer is not None:
        if study.user_attrs.get(attributes.TRANSFER) != transfer.plain():
            study.set_user_attr(attributes.TRANSFER, transfer.plain())
        enqueue_transferred(study, spec, transfer)
    return study


def _create_described(storage: RDBStorage, spec: StudySpec, data: PreparedData) -> optuna.Study:
    """A new study. It gets its name last, so that nobody who reads it takes it for one of another program."""
    remove_copy(storage, spec.name)
    _describe(create(storage, spec, copy_name(spec.name)), spec, data)
    name_new(storage, spec.name)
    return optuna.load_study(study_name=spec.name, storage=storage)


def _describe(study: optuna.Study, spec: StudySpec, data: PreparedData) -> None:
    """Store with a study what is not stored yet, or is not true any more."""
    if study.user_attrs.get(attributes.SPEC) != spec.stored():  # new, or its budget has changed
        study.set_user_attr(attributes.SPEC, spec.stored())
    if attributes.IDENTITY not in study.user_attrs:
        study.set_user_attr(attributes.IDENTITY, new_identity())
    if attributes.DATA not in study.user_attrs:
        study.set_user_attr(attributes.DATA, _described(data))


def record_environment(study: optuna.Study, executor: Mapping[str, str | int]) -> str | None:
    """Store what the first run ran on; for a later run elsewhere, say what is different."""
    now = {
        "cifar_tune": cifar_tune.__version__,
        "optuna": optuna.__version__,
        **executor,
    }
    before = study.user_attrs.get(attributes.ENVIRONMENT)
    if before is None:
        study.set_user_attr(attributes.ENVIRONMENT, now)
        return None
    comparable = [key for key in now if key in before and key != "device"]  # of several GPUs any may be the first
    changed = [f"{key} {before[key]} -> {now[key]}" for key in comparable if before[key] != now[key]]
    if not changed:
        return None
    return f"this study began in another environment, so results may differ in the last digits: {', '.join(changed)}"


def create(storage: RDBStorage, spec: StudySpec, name: str) -> optuna.Study:
    """An empty study of this name, with the objectives of the specification."""
    directions = [objective.direction for objective in spec.objectives]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions, sampler=None)
    study.set_metric_names([objective.metric for objective in spec.objectives])
    return study


def compare_images(study: optuna.Study, spec: StudySpec, data: PreparedData) -> None:
    """Compare the images with those that the study began with.

    Raises:
        UserError: if they are others.
    """
    stored = study.user_attrs.get(attributes.DATA)
    if stored and stored["fingerprint"] != data.fingerprint:
        raise UserError(
            Problem(
                f"the images are not those that the study {spec.name!r} began with, so its trials could not be "
                f"compared; give the study another name, or point data.root to the images that it began with",
                "data",
                spec.data.root or spec.data.name,
            )
        )


def _described(data: PreparedData) -> dict[str, object]:
    largest = max(range(len(data.classes)), key=data.val_counts.__getitem__)
    return {
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "train_images": len(data.train_indices),
        "val_images": len(data.val_indices),
        "val_largest_class": data.classes[largest],
        "val_largest_class_images": data.val_counts[largest],
        "image_shape": list(data.image_shape),
        "splits": data.splits,
        "resize": data.resize,
    }
