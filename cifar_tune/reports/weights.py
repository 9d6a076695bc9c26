"""The final model of a study, copied into its report. Nothing is trained, and no code of a plugin runs."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from cifar_tune.errors import CheckError, UserError
from cifar_tune.model_files.description import ModelDescription
from cifar_tune.model_files.folder import place
from cifar_tune.model_files.reading import read_all
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.records import StudyRecord

MODEL_FOLDER = "model"
"""Its name in every export."""


def kept_opening(record: StudyRecord) -> Opening:
    """The newest opening of which `finalize` kept the model.

    Raises:
        CheckError: there is none.
    """
    kept = [opening for opening in record.openings if opening.model is not None]
    if not kept:
        newer = record.succeeded_by
        again = " --again" if record.openings and newer is None else ""
        evolved = f"; it has evolved into {newer}" if newer else ""
        raise CheckError(
            f"the study {record.name!r} has no final model{evolved}: trials keep no weights when they are done. Train "
            f"one and test it once: cifar-tune finalize {quote(newer or record.name)}{again}"
        )
    return kept[-1]


def whose_model(opening: Opening) -> str:
    """Whose model it is that is exported, as a sentence without a full stop."""
    return f"the model is that of {opening.subject}, which finalize tested on {opening.opened}"


def final_model(record: StudyRecord) -> tuple[Opening, ModelDescription, dict[str, bytes]]:
    """The newest model that `finalize` kept of the study.

    Returns:
        Its opening of the test set, what it says of itself, and its files by their path below the folder.

    Raises:
        CheckError: there is none, or not on this machine, or another one has taken its place.
    """
    opening = kept_opening(record)
    folder = Path(opening.model or "")
    try:
        description, files = read_all(folder)
        if description.weights_sha256 != opening.weights_sha256:
            raise CheckError(
                f"{folder}: another model has taken the place of the one that was tested on {opening.opened}"
            )
    except UserError as error:
        raise CheckError(
            f"the final model of {record.name!r} was written on {opening.host}, and cannot be read here: {error}"
        ) from error
    return opening, description, files


def export_weights(description: ModelDescription, files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write the final model into the folder `model` of a report, and return its files.

    Args:
        description: as `final_model` returns it.
        files: likewise.
        folder: of the report.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    return place(folder / MODEL_FOLDER, description, files)
