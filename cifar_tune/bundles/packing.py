"""`cifar-tune bundle`: gathers what belongs to the final model of a study."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from cifar_tune.bundles.archive import MANIFEST_FILE, packed
from cifar_tune.bundles.initial import INITIAL_FOLDER, initial_files
from cifar_tune.csv_text import csv_text
from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.files import replace_file
from cifar_tune.knobs.initial_weights import FRESH, WEIGHTS_FILE, weights_source
from cifar_tune.markdown import code
from cifar_tune.model_files.description import ModelDescription, split_sha256
from cifar_tune.reports.export import report_files
from cifar_tune.reports.weights import MODEL_FOLDER, final_model
from cifar_tune.storage.records import StudyRecord
from cifar_tune.study.choosing import study_data
from cifar_tune.study_spec.overrides import Override

REPORT_FOLDER = "report"
SPLIT_FILE = "split.csv"
LOCK_FILE = "requirements.txt"
_FIRST_BYTES = b"PK\x03\x04"


def write_bundle(
    record: StudyRecord, path: Path, settings: Sequence[Override] = (), say: Callable[[str], None] = lambda _: None
) -> bytes:
    """Pack the final model of the study, its report, the split and the package versions into one file.

    Args:
        record: the study; `finalize` has kept its model.
        path: the file. A bundle that is there is replaced.
        settings: of `--set`: where the images are now. They tell which image is in which split.
        say: told what the bundle does not hold.

    Returns:
        The content of the file.

    Raises:
        CheckError: there is no final model, or it is not here.
        UserError: the images are not those of the study, or the file cannot be written.
    """
    _require_bundle_or_nothing(path)
    _, description, model = final_model(record)
    prepared = prepare(study_data(record, settings))
    _require_same_images(prepared, description)
    report = report_files(record, Path(REPORT_FOLDER))
    files = {f"{MODEL_FOLDER}/{name}": content for name, content in model.items()}
    files |= {
        file.as_posix(): content.encode() if isinstance(content, str) else content for file, content in report.items()
    }
    files |= initial_files(description.train, say)
    files[SPLIT_FILE] = split_csv(prepared)
    files[LOCK_FILE] = _lock(description).encode()
    files["README.md"] = _readme(record, description, is_whole=_has_initial_weights(files, description)).encode()
    content = packed(record.name, files)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=str(path))) from error
    return content


def split_csv(prepared: PreparedData) -> bytes:
    """One row per image that is not a test image: its index, split, class, and file where it has one.

    Names of files that are no text stay as they are, byte by byte.
    """
    split = dict.fromkeys(prepared.train_indices.tolist(), "train")
    split |= dict.fromkeys(prepared.val_indices.tolist(), "validation")
    rows = (
        (
            index,
            split.get(index, "unused"),
            prepared.classes[label],
            prepared.paths[index] if prepared.paths else "",
        )
        for index, label in enumerate(prepared.labels.tolist())
    )
    return csv_text(("index", "split", "class", "file"), rows).encode("utf-8", "surrogateescape")


def _require_bundle_or_nothing(path: Path) -> None:
    try:
        with path.open("rb") as file:
            first = file.read(len(_FIRST_BYTES) + 26 + len(MANIFEST_FILE))
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(Problem(f"cannot be written: {error.strerror}", source=str(path))) from error
    if not (first.startswith(_FIRST_BYTES) and first.endswith(MANIFEST_FILE.encode())):
        raise UserError(
            Problem("is there, and is no bundle that could be replaced: name another file", source=str(path))
        )


def _require_same_images(prepared: PreparedData, description: ModelDescription) -> None:
    is_same = prepared.fingerprint == description.fingerprint
    if not is_same or split_sha256(prepared.train_indices, prepared.val_indices) != description.split_sha256:
        raise CheckError("the images here are not those that the model was trained on; put those back")


def _lock(description: ModelDescription) -> str:
    python = description.environment.get("python", "unknown")
    lines = [f"# The packages that the training had loaded, under Python {python}."]
    lines += [f"{name}=={version}" for name, version in sorted(description.packages.items())]
    return "\n".join(lines) + "\n"


def _has_initial_weights(files: Collection[str], description: ModelDescription) -> bool:
    """Whether the bundle holds what its training began with, as far as that was a file."""
    source = weights_source(str(description.train.get("init_from", FRESH)))
    return source is None or f"{INITIAL_FOLDER}/{WEIGHTS_FILE}" in files


def _readme(record: StudyRecord, description: ModelDescription, is_whole: bool) -> str:
    accuracy = description.accuracy
    said = (
        "" if accuracy is None or accuracy.value is None else f" Its accuracy on the test set is {accuracy.value:.6g}"
    )
    if said and accuracy is not None and accuracy.low is not None and accuracy.high is not None:
        said += f" (95 % interval {accuracy.low:.4f} to {accuracy.high:.4f})"
    mean = f" {description.origin.mean_words}" if said and description.origin.mean_words else ""
    missing = (
        ""
        if is_whole
        else f" The training began with the weights in {code(description.train['init_from'])}, which are not in here: "
        f"`--retrain` needs them."
    )
    return (
        f"# The study {code(record.name)}\n\n"
        f"`{MODEL_FOLDER}/` holds the final model: start with its README.md.{said and said + '.'}{mean}\n"
        f"`{REPORT_FOLDER}/` holds the report of the search: open report.html. `{SPLIT_FILE}` says which image was in "
        f"which split, and `{LOCK_FILE}` which packages were loaded.\n\n"
        f"Check it on your machine, with the same images: `cifar-tune verify BUNDLE`, and with `--retrain` "
        f"train it again.{missing}\n"
    )
