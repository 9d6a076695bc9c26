"""Files that others find whole or not at all, and that are nobody else's.

Whoever can write into a folder can put a link, a device or a pipe where a file of ours is expected. So files are
replaced, never written into, and nothing but a regular file is read.
"""

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from itertools import count
from pathlib import Path
from uuid import uuid4

from cifar_tune.unfinished import remove_abandoned, unfinished_folder

UNFINISHED = ".cifar-tune-writing-*"
"""Names of hidden folders that hold files until they are whole."""

Content = bytes | str
"""Of a file; text is encoded as UTF-8, with its line ends as they are."""


class NotRegularError(OSError):
    """There is something else than a regular file: a folder, a pipe or a device."""


def replace_file(path: Path, content: Content) -> None:
    """Write a file; what was there before is replaced, and a link is not followed.

    Raises:
        OSError: it cannot be written; then the old file is as it was.
    """
    replace_files({path: content})


def replace_files(contents: Mapping[Path, Content], removed: Collection[Path] = ()) -> None:
    """Write several files, whose folders exist, and remove others: all of it or, after an error, nothing.

    All are written into a hidden folder beside their places first, where a full disk is noticed. Then they are renamed,
    while the old files are kept in that folder, so that they can be put back. Only a kill among the renames leaves old
    and new mixed; the hidden folder of a killed process is removed when somebody writes there again.

    Args:
        contents: of the files to be written.
        removed: files that must not be there afterwards; they need not be there now.

    Raises:
        OSError: one of them cannot be written or removed, with its name; all old files are as they were.
    """
    beside: dict[Path, Path] = {}
    with ExitStack() as stack:
        stages = _Stages(stack)
        for path, content in contents.items():
            with _named(path):
                beside[path] = stages.place_for(path)
                _write(beside[path], content.encode() if isinstance(content, str) else content)
        _put_in_place(beside, stages, removed)


class _Stages:
    """Hidden folders, one beside the files of each folder. They and all that is in them are removed at the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folders: dict[Path, Path] = {}
        self._number = count()

    def place_for(self, path: Path) -> Path:
        """A name that is free, on the file system of the folder in which `path` lies."""
        folder = path.parent
        if folder not in self._folders:
            remove_abandoned(folder, UNFINISHED)
            self._folders[folder] = self._stack.enter_context(unfinished_folder(folder, UNFINISHED))
        return self._folders[folder] / str(next(self._number))


def _put_in_place(beside: Mapping[Path, Path], stages: _Stages, removed: Collection[Path]) -> None:
    """Keep the old files, rename what was written, and remove what must go; after an error put back what was kept."""
    kept: dict[Path, Path] = {}
    placed: list[Path] = []
    try:
        for path in (*beside, *removed):
            with _named(path):
                _keep(path, kept, stages)
        for path, written in beside.items():
            with _named(path):
                written.replace(path)
                placed.append(path)
        for path in (path for path in removed if path in kept):
            with _named(path):
                path.unlink(missing_ok=True)
    except BaseException:
        for path in (path for path in placed if path not in kept):
            with suppress(OSError):
                path.unlink()
        for path, old in kept.items():
            try:
                if not _is_one_file(path, old):
                    old.replace(path)
            except OSError:
                with suppress(OSError):  # then its content stays under another name
                    old.replace(path.with_name(f".cifar-tune-kept-{uuid4().hex}"))
        raise


def _is_one_file(one: Path, other: Path) -> bool:
    return os.path.lexists(one) and os.path.samestat(one.lstat(), other.lstat())


def _keep(path: Path, kept: dict[Path, Path], stages: _Stages) -> None:
    """Give a file that is there a second name; where the file system knows no hard links, make a copy."""
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, "Is a directory")
    if not os.path.lexists(path):
        return
    name = stages.place_for(path)
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        shutil.copy2(path, name, follow_symlinks=False)
    kept[path] = name


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error name the file that was meant."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_regular(path: Path, most_bytes: int, follow_links: bool = False) -> bytes:
    """The content of a regular file. Nothing waits for a pipe.

    Args:
        path: the file.
        most_bytes: a file that has more is refused.
        follow_links: whether the path may be a link; where others can write into the folder, it should not be one.

    Raises:
        OSError: there is no such file, it is none, or it has more than `most_bytes`.
    """
    with open_regular(path, follow_links) as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise OSError(errno.EFBIG, f"it has more than {most_bytes:,} bytes", str(path))
        return file.read(most_bytes)


def open_regular(path: Path, follow_links: bool = False) -> BufferedReader:
    """A regular file, open for reading. Nothing waits for a pipe; `follow_links` as in `read_regular`.

    Raises:
        NotRegularError: it is something else.
        OSError: it cannot be opened, or is a link.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0))
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def is_regular(path: Path) -> bool:
    """Whether this is a regular file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_real_folder(path: Path) -> bool:
    """Whether this is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
