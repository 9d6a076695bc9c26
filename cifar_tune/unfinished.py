"""Files and folders that are not finished yet: their writer holds a lock on them, and others remove what nobody holds.

A lock (`flock`) ends with its process, however that ends. So what a killed process leaves behind is told from what
another one is still writing, and the next start removes it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


@contextmanager
def unfinished_file(folder: Path, pattern: str) -> Iterator[Path]:
    """An empty file in `folder`, to be written and renamed. What has not been renamed at the end is removed.

    Args:
        folder: where it lies; it must exist.
        pattern: its name, with a `*` for what makes it unique.

    Raises:
        OSError: it cannot be created.
    """
    with _unfinished(folder, pattern, is_folder=False) as path:
        yield path


@contextmanager
def unfinished_folder(folder: Path, pattern: str) -> Iterator[Path]:
    """The same, but a folder. It is removed at the end with all that is in it.

    Raises:
        OSError: it cannot be created.
    """
    with _unfinished(folder, pattern, is_folder=True) as path:
        yield path


def remove_abandoned(folder: Path, pattern: str) -> None:
    """Remove what ended processes left unfinished in `folder`: names that match `pattern`.

    What cannot be removed, or be locked at all (some network file systems have no locks), stays without a word.
    """
    for path in folder.glob(pattern):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(descriptor)


@contextmanager
def _unfinished(folder: Path, pattern: str, is_folder: bool) -> Iterator[Path]:
    path, descriptor = _held(folder, pattern, is_folder)
    try:
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


def _held(folder: Path, pattern: str, is_folder: bool) -> tuple[Path, int]:
    """Create and lock. Until it is locked, another process may take it for abandoned: then another one is made."""
    while True:
        path = folder / pattern.replace("*", uuid4().hex)
        if is_folder:
            path.mkdir()
        else:
            path.touch(exist_ok=False)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except OSError:
            _remove(path)
            raise
        with suppress(OSError):  # no locks here: then nobody else can lock it either, and it stays
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return path, descriptor
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
