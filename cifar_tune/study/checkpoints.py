"""The checkpoints of a study's trials, most of which are deleted when their trials have ended."""

import os
import re
import shutil
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path

import optuna

from cifar_tune.files import is_regular
from cifar_tune.storage import attributes
from cifar_tune.storage.urls import checkpoint_name, checkpoints_in, study_folder

_HALF_WRITTEN = re.compile(r"^trial-\d+\.pt\.")
_NUMBER = re.compile(r"^trial-(\d+)\.pt$")


def checkpoints_of(study: optuna.Study) -> Path:
    """The folder of the study's checkpoints; it may not be there.

    Raises:
        UserError: see `study_folder`.
    """
    return checkpoints_in(study_folder(study.study_name, study.user_attrs[attributes.IDENTITY]))


def sweep(folder: Path, kept: Set[int], half_written: bool = False) -> None:
    """Delete the checkpoints of all trials but those of the numbers in `kept`.

    With `half_written`, what killed processes left in the middle of writing too: only while no executor writes. Files
    that are no checkpoints stay where they are.
    """
    with suppress(OSError):  # such as a folder that somebody has put in the place of a file, or has removed
        for file in sorted(folder.iterdir()):
            complete, half = _NUMBER.match(file.name), _HALF_WRITTEN.match(file.name)
            if (complete and int(complete.group(1)) not in kept) or (half and half_written):
                with suppress(OSError):
                    file.unlink()


def take_over(before: Path, after: Path, numbers: Mapping[int, int]) -> None:
    """Give checkpoints of one study to trials of another; both have them then.

    A checkpoint is never written into, but replaced, so they can be the same file.

    Args:
        before: the folder of the checkpoints that there are.
        after: that of those to come, which exists.
        numbers: of the trials there by those of the trials here.

    Raises:
        OSError: one of them can be neither linked nor copied.
    """
    for there, here in numbers.items():
        file = before / checkpoint_name(there)
        if is_regular(file):
            with suppress(FileNotFoundError):  # its trial has ended a moment ago
                _link(file, after / checkpoint_name(here))


def numbers_in(folder: Path) -> list[int]:
    """The numbers of the trials that have a checkpoint in the folder."""
    with suppress(OSError):
        return sorted(int(match.group(1)) for file in folder.iterdir() if (match := _NUMBER.match(file.name)))
    return []


def _link(before: Path, after: Path) -> None:
    after.unlink(missing_ok=True)
    try:
        os.link(before, after, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # not on every file system
        shutil.copyfile(before, after, follow_symlinks=False)
