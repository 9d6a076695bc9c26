"""Where the reports of a study are written."""

from pathlib import Path

from cifar_tune.errors import Problem, UserError
from cifar_tune.storage.urls import is_folder_name


def report_folder(study: str) -> Path:
    """The folder of a study's reports, unless one says otherwise.

    Raises:
        UserError: if another program gave the study a name that leads out of `reports/`.
    """
    if not is_folder_name(study):
        raise UserError(Problem(f"the name of the study {study!r} is none for a folder; name one with --output"))
    return Path("reports") / study
