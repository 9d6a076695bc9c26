"""The checkpoints of a study's trials, most of which are deleted when their trials have ended."""

import re
import shutil
from collections.abc import Set

from cifar_tune.storage.urls import artifacts_folder, checkpoint_file

_NUMBER = re.compile(r"^trial-(\d+)\.pt$")


def sweep(study: str, kept: Set[int], half_written: bool = False) -> None:
    """Delete the checkpoints of all trials but those of the numbers in `kept`.

    With `half_written`, what killed processes left in the middle of writing too: only while no executor writes.
    """
    folder = checkpoint_file(study, 0).parent
    if not folder.is_dir():
        return
    for file in folder.iterdir():
        match = _NUMBER.match(file.name)
        if (match and int(match.group(1)) not in kept) or (match is None and half_written):
            file.unlink(missing_ok=True)


def delete_artifacts(study: str) -> None:
    """Delete everything that a study keeps outside of the database."""
    shutil.rmtree(artifacts_folder() / study, ignore_errors=True)
