"""The final model of a study, copied into its report. Nothing is trained, and no code of a plugin runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TypeVar

from cifar_tune.errors import CheckError, UserError
from cifar_tune.model_files.description import ModelDescription
from cifar_tune.model_files.folder import place
from cifar_tune.model_files.reading import ModelFile, model_files, read_all
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.records import StudyRecord

Files = TypeVar("Files")

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
    return _read(record, read_all)


def final_model_files(record: StudyRecord) -> Mapping[str, ModelFile]:
    """The files of the newest model that `finalize` kept of the study, by their path below its folder, unread.

    Raises:
        CheckError: there is none, or not on this machine, or another one has taken its place.
    """
    return _read(record, model_files)[2]


def _read(
    record: StudyRecord, read: Callable[[Path], tuple[ModelDescription, Files]]
) -> tuple[Opening, ModelDescription, Files]:
    opening = kept_opening(record)
    with _of_opening(record, opening) as folder:
        description, files = read(folder)
        _require_same(description, opening)
    return opening, description, files


@contextmanager
def read_here(record: StudyRecord) -> Iterator[None]:
    """A block that opens files of the final model of a study.

    Raises:
        CheckError: one cannot be read; says on which machine they were written.
    """
    with _of_opening(record, kept_opening(record)):
        yield


@contextmanager
def _of_opening(record: StudyRecord, opening: Opening) -> Iterator[Path]:
    try:
        yield Path(opening.model or "")
    except UserError as error:
        raise CheckError(
            f"the final model of {record.name!r} was written on {opening.host}, and cannot be read here: {error}"
        ) from error


def _require_same(description: ModelDescription, opening: Opening) -> None:
    if description.weights_sha256 != opening.weights_sha256:
        raise CheckError(
            f"{opening.model}: another model has taken the place of the one that was tested on {opening.opened}"
        )


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
