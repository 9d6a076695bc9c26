"""The image files below a folder, recognised by their suffix or else by their first bytes, and what is left out."""

import errno
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal

from cifar_tune.errors import Problem, UserError, enumerate_names

Stamp = tuple[int, int, int, int]
_Kind = Literal["file", "folder", "other"]

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Files with one of these are images, in upper case too. Of others the first bytes decide."""

_SIGNATURES: Mapping[str, bytes] = {
    "AVIF": rb"....ftyp(avif|avis)",
    "BMP": rb"BM....\0\0\0\0",
    "GIF": rb"GIF8[79]a",
    "JPEG": rb"\xff\xd8\xff",
    "JPEG 2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "netpbm": rb"P[1-6]\s+(#[^\n]*\n\s*)*\d+\s",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "TIFF": rb"II\*\0|MM\0\*",
    "WebP": rb"RIFF....WEBP",
}
"""How files of each format begin, as regular expressions, after the specifications of the formats."""

_IMAGE = re.compile(b"|".join(b"(?:%b)" % signature for signature in _SIGNATURES.values()), re.DOTALL)
_FIRST_BYTES = 256
_NAMED = 3
"""Examples of what is left out for one reason."""

HIDDEN = "hidden (a name that begins with a dot)"
LOOSE = "not in a class folder"
NO_IMAGE = "not an image that can be read"
NO_FILE = "not a file (a broken link, a socket or a device)"
LOOP = "a link to a folder above it"


@dataclass(frozen=True)
class LeftOut:
    """What is not read: for each reason, paths below `data.root`."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Count one more."""
        self.found.setdefault(reason, []).append(path)

    def take(self, other: "LeftOut") -> None:
        """Count what another one has counted."""
        for reason, paths in other.found.items():
            self.found.setdefault(reason, []).extend(paths)

    def sentences(self) -> list[str]:
        """One for each reason, with the number, the suffixes and some examples."""
        return [_sentence(reason, sorted(paths)) for reason, paths in sorted(self.found.items())]


def image_files(root: Path, folder: str, left_out: LeftOut) -> list[tuple[str, Stamp]]:
    """The images in a folder and all folders below it, by path.

    Links are followed, as torchvision's `ImageFolder` does; what is hidden is left out.

    Args:
        root: `data.root`.
        folder: a path below it, such as `train/ant`.
        left_out: gets what is not read.

    Returns:
        Paths below `root`, and what changes whenever the file does (`stamp`).

    Raises:
        UserError: a folder or file cannot be read.
    """
    found = []
    for path, state in _files(root, folder, left_out):
        if path.lower().endswith(SUFFIXES) or _begins_like_an_image(root / path):
            found.append((path, stamp(state)))
        else:
            left_out.add(NO_IMAGE, path)
    return sorted(found)


def file_count(root: Path, folder: str) -> int:
    """How many files there are in a folder and all folders below it, without those that are hidden; none is opened."""
    return sum(1 for _ in _files(root, folder, LeftOut()))


def contents(root: Path, folder: str, left_out: LeftOut) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files that lie in a folder, in their order; what is hidden is left out.

    Raises:
        UserError: the folder cannot be read.
    """
    folders: list[str] = []
    files: list[str] = []
    for entry, kind, _ in _entries(root, folder, left_out):
        (folders if kind == "folder" else files).append(entry.name)
    return sorted(folders), sorted(files)


def _files(root: Path, folder: str, left_out: LeftOut) -> Iterator[tuple[str, os.stat_result]]:
    """All regular files, as paths below `root`."""
    start = tuple(_identity(each) for each in (root / folder, *(root / folder).parents[: folder.count("/") + 1]))
    waiting = [(folder, start)]
    while waiting:
        below, above = waiting.pop()
        for entry, kind, path in _entries(root, below, left_out):
            if kind == "file":
                yield path, entry.stat()
            elif kind == "other":
                left_out.add(NO_FILE, path)
            elif (identity := _identity(root / path)) in above:
                left_out.add(LOOP, path)
            else:
                waiting.append((path, (*above, identity)))


def _entries(root: Path, folder: str, left_out: LeftOut) -> Iterator[tuple[os.DirEntry[str], _Kind, str]]:
    """What lies in the folder and is not hidden, what it is, and its path below `root`. Links are followed."""
    path = folder
    try:
        with os.scandir(root / folder) as found:
            for entry in found:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith("."):
                    if entry.is_dir() or path.lower().endswith(SUFFIXES):
                        left_out.add(HIDDEN, path)
                else:
                    yield entry, _kind(entry), path
    except OSError as error:
        raise _unreadable(root / path, error) from error


def _kind(entry: os.DirEntry[str]) -> _Kind:
    try:
        return "file" if entry.is_file() else "folder" if entry.is_dir() else "other"
    except OSError as error:
        if error.errno == errno.ELOOP:  # links that lead to each other
            return "other"
        raise


def _identity(folder: Path) -> tuple[int, int]:
    try:
        state = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return state.st_dev, state.st_ino


def stamp(state: os.stat_result) -> Stamp:
    """Size in bytes, modification time and change time in nanoseconds, and inode.

    A program can put the modification time back (`touch -r`, `cp -p`, `rsync -t`, archives), but not the change time;
    a file that is renamed to another one's name has its own inode.
    """
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino


def is_beginning_of_image(content: bytes) -> bool:
    """Whether a file that begins with these bytes (256 suffice) is an image of a format that has a signature."""
    return _IMAGE.match(content[:_FIRST_BYTES]) is not None


def _begins_like_an_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_beginning_of_image(file.read(_FIRST_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(Problem(f"cannot be read ({error.strerror})", source=str(path)))


def _sentence(reason: str, paths: list[str]) -> str:
    shown = [repr(path) for path in paths[:_NAMED]]
    if len(paths) <= _NAMED:
        return f"left out, {reason}: {len(paths)} ({enumerate_names(shown, 'and')})"
    suffixes = Counter(PurePath(path).suffix.lower() or "no suffix" for path in paths)
    kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in suffixes.most_common(5))
    return f"left out, {reason}: {len(paths):,} (such as {', '.join(shown)}; by suffix: {kinds})"
