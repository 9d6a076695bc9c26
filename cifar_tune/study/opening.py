"""Creates a study in the storage, or takes up the one that is there if it is the same."""

from collections.abc import Mapping
from importlib.metadata import version

import optuna
from optuna.storages import RDBStorage

import cifar_tune
from cifar_tune.data.prepared import PreparedData
from cifar_tune.errors import Problem, UserError
from cifar_tune.storage import attributes
from cifar_tune.storage.records import read_spec
from cifar_tune.study.asking import enqueue_known
from cifar_tune.study.folder_claim import new_identity
from cifar_tune.study.misfits import refuse_misfits
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.evolution import require_evolvable, why_not_evolvable
from cifar_tune.study_spec.specification import StudySpec


def stored_study(storage: RDBStorage, spec: StudySpec, evolve: bool = False) -> optuna.Study | None:
    """The study of that name, if the storage has it.

    Args:
        storage: that may hold it.
        spec: of the study that shall run.
        evolve: the stored one may differ, unless no trial could be carried over.

    Raises:
        UserError: if it was made from another specification, listing what differs and the ways on.
    """
    if spec.name not in optuna.get_all_study_names(storage):
        return None
    study = optuna.load_study(study_name=spec.name, storage=storage)
    if not study.user_attrs and not study.get_trials(deepcopy=False):
        return study  # its creator was stopped between two statements
    different = differences(read_spec(study), spec)
    if evolve:
        require_evolvable(spec.name, different)
    elif different:
        hint = "" if why_not_evolvable(different) else "carry over the trials that fit, with --evolve; "
        lines = "\n".join(f"  {difference}" for difference in different)
        raise UserError(
            f"the storage holds a study {spec.name!r} with another specification (stored -> given):\n{lines}\n"
            f"Nothing was run. Either {hint}give this one another name (`name:` in the file, or --set name=...); or "
            f"remove the stored one with: cifar-tune delete {spec.name}"
        )
    return study


def open_study(storage: RDBStorage, spec: StudySpec, data: PreparedData) -> optuna.Study:
    """Create the study, or take up the stored one; the caller holds its lease.

    Raises:
        UserError: if the stored one differs in its specification or in its images.
        CheckError: if another program has spoiled its search space.
    """
    study = stored_study(storage, spec)
    if study is not None and attributes.SPEC not in study.user_attrs:
        optuna.delete_study(study_name=spec.name, storage=storage)  # empty, and perhaps of another direction
        study = None
    if study is None:
        study = create(storage, spec, spec.name)
    compare_images(study, spec, data)
    if study.user_attrs.get(attributes.SPEC) != spec.plain():  # new, or its budget has changed
        study.set_user_attr(attributes.SPEC, spec.plain())
    if attributes.IDENTITY not in study.user_attrs:
        study.set_user_attr(attributes.IDENTITY, new_identity())
    if attributes.DATA not in study.user_attrs:
        study.set_user_attr(attributes.DATA, _described(data))
    refuse_misfits(study.get_trials(deepcopy=False), spec)
    enqueue_known(study, spec)
    return study


def record_environment(study: optuna.Study, executor: Mapping[str, str | int]) -> str | None:
    """Store what the first run ran on; for a later run elsewhere, say what is different."""
    now = {
        "cifar_tune": cifar_tune.__version__,
        "optuna": version("optuna"),
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
    if stored is not None and stored["fingerprint"] != data.fingerprint:
        raise UserError(
            Problem(
                f"the images are not those that the study {spec.name!r} began with, so its trials could not be "
                f"compared; give the study another name, or point data.root to the images that it began with",
                "data",
                spec.data.root or spec.data.name,
            )
        )


def _described(data: PreparedData) -> dict[str, object]:
    return {
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "train_images": len(data.train_indices),
        "val_images": len(data.val_indices),
        "image_shape": list(data.image_shape),
        "splits": data.splits,
    }
