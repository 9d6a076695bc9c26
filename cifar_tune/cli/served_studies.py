"""`status`, `export`, `compare` and `delete` of studies that a server has."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_tune.cli.options import study_file
from cifar_tune.client import HttpDesk
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.files import Content
from cifar_tune.model_files.folder import place
from cifar_tune.model_files.reading import read_all
from cifar_tune.reports.export import report_folder, write_report
from cifar_tune.reports.weights import MODEL_FOLDER
from cifar_tune.service.refusals import UnknownStudyError
from cifar_tune.service.submissions import Submission
from cifar_tune.study_spec.reader import read_study_name

_TRIES = 3


def served_name(study: str, desk: HttpDesk) -> str:
    """The name of a study, given by its file or by its name.

    Raises:
        UserError: the file is wrong, or there is none.
    """
    file = study_file(study, lambda: [str(each["name"]) for each in desk.studies()])
    return study if file is None else read_study_name(file)


def served_statuses(desk: HttpDesk) -> list[dict[str, Any]]:
    """The status of every study that has begun, by name."""
    found = [dict(each["status"]) for each in desk.studies(details=True) if each.get("status") is not None]
    return sorted(found, key=lambda status: str(status["name"]))


def served_status(study: str, desk: HttpDesk) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    """The status of one study, and the trials that ended last.

    Raises:
        UnknownStudyError: there is no such study.
        UserError: it has not begun.
    """
    name = served_name(study, desk)
    status = desk.study(name)["status"]
    if status is None:
        raise UserError(Problem(not_begun(desk.submission(name)), name))
    return dict(status), desk.live(name)["ended"]


def not_begun(submission: Submission) -> str:
    """What can be said of a study that nobody has run yet."""
    place = "" if submission.position is None else f" at place {submission.position}"
    why = (submission.waits if submission.is_living else submission.message) or ""
    words = "has not begun" if submission.is_living else "never began"
    return f"{words}: it is {submission.state}{place}{f'; {why}' if why else ''}"


def download_report(study: str, desk: HttpDesk, folder: Path | None, formats: Sequence[str] = ()) -> list[Path]:
    """Write the report that the server makes of a study, and return its files.

    Args:
        study: a name, or a study file.
        desk: of the server.
        folder: None for `reports/` and the study's name.
        formats: `svg` or `pdf`, or both: each picture comes so too, beside PNG.

    Raises:
        UserError: the folder cannot be written.
        UnknownStudyError: there is no such study.
        CheckError: the study changes all the time, or the server names files that no report has.
    """
    name = served_name(study, desk)
    folder = report_folder(name) if folder is None else folder
    return write_report(lambda: _report(name, desk, folder, formats), folder)


def _report(name: str, desk: HttpDesk, folder: Path, formats: Sequence[str]) -> Mapping[Path, Content]:
    for _ in range(_TRIES):
        names = desk.report(name, formats)
        try:
            return {_inside(folder, each): desk.report_file(name, each) for each in names}
        except UnknownStudyError as error:  # of a study that runs, a trial may have left the front meanwhile
            last = error
    raise CheckError(f"the report of {name!r} changes while it is read: {last}") from last


def served_comparison(
    study: str, by: str, desk: HttpDesk, formats: Sequence[str]
) -> tuple[str, str, Mapping[str, Content]]:
    """The name of a study, and the comparison of a knob as a server makes it: its table, and what its files hold.

    Raises:
        UserError: there is no such knob.
        UnknownStudyError: there is no such study.
    """
    name = served_name(study, desk)
    try:
        told = str(desk.compare(name, by)["markdown"])
        for _ in range(_TRIES):
            before = told
            found = {kind: desk.compare_file(name, by, kind) for kind in dict.fromkeys(("md", "csv", "png", *formats))}
            told = str(desk.compare(name, by)["markdown"])
            if told == before:  # else a trial has ended meanwhile, and the files may be of different moments
                break
    except UserError as error:
        raise UserError([replace(each, key="--by") if each.key == "by" else each for each in error.problems]) from error
    return name, told, found


def download_model(study: str, desk: HttpDesk, folder: Path | None) -> list[Path]:
    """Write the model that `finalize` has kept into the folder `model` of a report, and return its files.

    Raises:
        UserError: the folder holds something else, or cannot be written.
        UnknownStudyError: there is no model; the message says why.
        CheckError: what has come is not the model that was written.
    """
    name = served_name(study, desk)
    folder = report_folder(name) if folder is None else folder
    with tempfile.TemporaryDirectory() as scratch:
        for each in desk.model(name):
            path = _inside(Path(scratch), each)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(desk.model_file(name, each))
        try:
            description, files = read_all(scratch)
        except UserError as error:
            raise CheckError(f"the model of {name!r} did not come whole: {error}".replace(f"{scratch}/", "")) from error
    return place(folder / MODEL_FOLDER, description, files)


def _inside(folder: Path, name: str) -> Path:
    """A file that the server names, which must lie in the folder.

    Raises:
        CheckError: it does not.
    """
    parts = name.split("/")
    if not all(parts) or {".", ".."} & set(parts) or len(parts) > 3 or not name.isprintable() or "\\" in name:
        raise CheckError(f"the server names a file {name!r}, which no report has")
    return folder.joinpath(*parts)
