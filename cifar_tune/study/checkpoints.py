"""The checkpoints of a study's trials, most of which are deleted when their trials have ended."""

import re
import shutil
from collections.abc import Set

from cifar_tune.storage.urls import checkpoint_file, is_folder_name, study_folder

_HALF_WRITTEN = re.compile(r"^trial-\d+\.pt\.")
_NUMBER = re.compile(r"^trial-(\d+)\.pt$")


def sweep(study: str, kept: Set[int], half_written: bool = False) -> None:
    """Delete the checkpoints of all trials but those of the numbers in `kept`.

    With `half_written`, what killed processes left in the middle of writing too: only while no executor writes. Files
    that are no checkpoints stay where they are.
    """
    folder = checkpoint_file(study, 0).parent
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        complete, half = _NUMBER.match(file.name), _HALF_WRITTEN.match(file.name)
        if (complete and int(complete.group(1)) not in kept) or (half and half_written):
            file.unlink(missing_ok=True)


def delete_artifacts(study: str) -> None:
    """Delete everything that a study keeps outside of the database; one that another program named keeps nothing.

    Raises:
        UserError: if a link leads out of the artifacts folder.
    """
    if is_folder_name(study):
        shutil.rmtree(study_folder(study), ignore_errors=True)
