"""The model folder that `finalize` writes: first the weights, then, when the test set was opened, what came out."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.model_files.description import Check, ModelDescription, Origin
from cifar_tune.model_files.writing import Chosen, Evaluation, add_evaluation, write_model_folder
from cifar_tune.storage.openings import RACE, Opening
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.race_result import stored_result
from cifar_tune.training.final import measure
from cifar_tune.training.loop import Training


def write_final_model(
    folder: Path, record: StudyRecord, spec: DataSpec, training: Training, opening: Opening, val_losses: Sequence[float]
) -> tuple[ModelDescription, Opening]:
    """Write the trained model before the test set is opened, so that no result can be without its weights.

    Args:
        folder: as `write_model_folder` takes it.
        record: the study.
        spec: its data.
        training: done, on all images.
        opening: the one that follows.
        val_losses: that the training was told.

    Returns:
        What the folder says, and the opening with the folder in it.

    Raises:
        UserError: the folder cannot be written. The test set is not opened then.
    """
    prepared = prepare(spec)
    images, labels = prepared.validation()
    loss, accuracy = measure(training, images, labels)[:2]
    check = Check(images=len(labels), loss=loss, accuracy=accuracy, trained_on=True)
    chosen = Chosen(spec, prepared, opening.epochs, _origin(record, opening, len(record.openings)), check, val_losses)
    written = write_model_folder(folder, training, chosen)
    return written, replace(opening, model=str(folder.absolute()), weights_sha256=written.weights_sha256)


def add_test_result(
    folder: Path, written: ModelDescription, record: StudyRecord, opening: Opening, evaluation: Evaluation
) -> str:
    """Write into the folder what came out on the test set; returns a sentence for people.

    Args:
        folder: where the model is.
        written: what `write_final_model` wrote.
        record: the study, as it was before the opening.
        opening: with its result.
        evaluation: on the test set.
    """
    try:
        add_evaluation(folder, written, _origin(record, opening, len(record.openings) + 1), evaluation)
    except UserError as error:  # the result itself is with the study
        return f"note: the weights are in {folder}, but not what the test gave: {error}"
    return f"model folder: {folder}"


def _origin(record: StudyRecord, opening: Opening, openings: int) -> Origin:
    return Origin.model_validate(
        {
            "command": "finalize",
            "study": record.name,
            "chosen": opening.chosen,
            "trial": opening.trial,
            "source": opening.source,
            "images": opening.images,
            "objective": record.spec.objective.metric,
            "objective_value": opening.value,
            "race_value": _race_value(record, opening),
            "finished_trials": opening.finished_trials,
            "test_openings": openings,
            "test_fingerprint": opening.test_fingerprint,
            "opened": opening.opened or None,
            "networks": len(opening.networks) or None,
            "failed_networks": len(opening.failed_networks),
            "mean_test_accuracy": opening.test_accuracy if opening.networks else None,
            "mean_interval": opening.new_images,
        }
    )


def _race_value(record: StudyRecord, opening: Opening) -> float | None:
    """The mean of the fresh trainings of the winner of the race that has chosen what was tested."""
    race = stored_result(record) if opening.chosen == RACE else None
    return race.mean if race is not None and race.winner.trial == opening.trial else None
