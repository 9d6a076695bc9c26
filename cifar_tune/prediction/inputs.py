"""Which images to look at: files, folders and stdin, and the labels that class folders give."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cifar_tune.data.source_table import DEFAULT_ROOT, SOURCES
from cifar_tune.data.sources.class_names import counterparts, likeness, listed, pair
from cifar_tune.data.sources.folder_files import LeftOut, image_files, is_beginning_of_image
from cifar_tune.data.sources.folder_layout import FOLDER_NAMES, Role
from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.paths import PathError, expanded, given_path, is_stream
from cifar_tune.wording import counted

STDIN = "-"
_NAMED = 10
"""Paths of a list that are named; the others are counted."""

_KEY = "IMAGE"
_WORTH: Mapping[Role, str] = {
    "training": "it has learned them, so their accuracy says little about new images",
    "validation": "it was chosen by them, or has learned them, so their accuracy says too much of new images",
    "test": "do not choose between models by their accuracy, or it says nothing about new images any more",
}

MIXED = frozenset(name for name, entry in SOURCES.items() if entry.is_mixed)
"""Data whose folders of classes hold training and test images side by side."""

_NOT_IN_PATHS = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]")
"""Bytes that no list of paths holds, and nearly every image file does."""


@dataclass(frozen=True, slots=True)
class GivenImage:
    """An image to look at.

    Attributes:
        name: what it is called in results: its path, or `-`.
        source: its file, or the bytes of one.
        label: the number of the class that its folder names; None where there is no such folder.
    """

    name: str
    source: Path | bytes
    label: int | None = None


@dataclass
class Given:
    """All images to look at.

    Attributes:
        images: in the order in which they were given; those of a folder by path.
        is_table: whether there was a folder or a list, so that a table suits better than lines.
        notes: what people should know; sentences without a full stop.
        folders: those that were given.
        files: the image files that were given one by one.
    """

    images: list[GivenImage] = field(default_factory=list)
    is_table: bool = False
    notes: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    @property
    def is_labelled(self) -> bool:
        """Whether class folders tell what some of the images show."""
        return any(image.label is not None for image in self.images)


def find_images(arguments: Sequence[str], classes: Sequence[str], read_stdin: Callable[[], bytes]) -> Given:
    """Find the images that somebody names on the command line.

    Args:
        arguments: image files, folders, and `-` for stdin: one image, or a list of paths, one on each line or, as
            `find -print0` writes them, with a zero byte between them.
        classes: class names of the model; folders of these names in a given folder are taken for labels.
        read_stdin: called where `-` is among the arguments.

    Raises:
        UserError: something that was named, also in a list, is not there or holds no image; reports all of that at
            once, of many paths the first ones.
    """
    given = Given()
    problems: list[Problem] = []
    if list(arguments).count(STDIN) > 1:
        raise UserError(Problem("stdin can be read only once", _KEY, STDIN))
    for argument in arguments:
        try:
            if argument == STDIN:
                _add_stdin(given, classes, read_stdin())
            else:
                _add(given, classes, argument)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return given


def _add_stdin(given: Given, classes: Sequence[str], content: bytes) -> None:
    if not content.strip(b"\0\r\n\t "):
        raise UserError(Problem("nothing came in: give an image, or a list of paths", _KEY, STDIN))
    if is_beginning_of_image(content) or _NOT_IN_PATHS.search(content):
        given.images.append(GivenImage(STDIN, content))
        return
    given.is_table = True
    problems: list[Problem] = []
    for line in content.split(b"\0") if b"\0" in content else content.splitlines():
        path = os.fsdecode(line)
        try:
            if path.strip():
                _add_path(given, classes, path, Path(path), name=path)
        except UserError as error:
            problems += error.problems
    if problems:
        left = len(problems) - _NAMED
        more = [Problem(f"and {counted(left, 'more path')} of the list like these")] if left > 0 else []
        raise UserError(problems[:_NAMED] + more)


def _add(given: Given, classes: Sequence[str], argument: str) -> None:
    path = given_path(argument, _KEY)
    _add_path(given, classes, argument, path, name=str(path))


def _add_path(given: Given, classes: Sequence[str], argument: str, path: Path, name: str) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a null byte
        raise UserError(_missing(argument, path)) from error
    except OSError as error:
        raise UserError(Problem(f"cannot be read ({error.strerror})", _KEY, argument)) from error
    if stat.S_ISDIR(mode):
        _add_folder(given, classes, path)
    elif is_stream(path):
        given.images.append(GivenImage(name, path.read_bytes()))
    elif stat.S_ISREG(mode):
        given.files.append(path)
        given.images.append(GivenImage(name, path))
    else:
        raise UserError(Problem("is neither a file nor a folder", _KEY, argument))


def _missing(argument: str, path: Path) -> Problem:
    names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    nearest = nearest_name(path.name, names)
    return Problem(
        "there is no such file or folder",
        _KEY,
        argument,
        nearest=None if nearest is None else str(Path(argument).parent / nearest),
    )


def _add_folder(given: Given, classes: Sequence[str], folder: Path) -> None:
    left_out = LeftOut()
    paths = [path for path, _ in image_files(folder, "", left_out)]
    given.notes += left_out.sentences()
    if not paths:
        raise UserError(Problem("holds no image", _KEY, str(folder)))
    below = sorted({PurePosixPath(path).parts[0] for path in paths if "/" in path})
    numbers = {name: classes.index(of) for of, name in counterparts(classes, below).items()}
    labels = [numbers.get(path.partition("/")[0]) if "/" in path else None for path in paths]
    given.is_table = True
    given.folders.append(folder)
    given.images += [
        GivenImage(str(folder / path), folder / path, label) for path, label in zip(paths, labels, strict=True)
    ]
    labelled = sum(label is not None for label in labels)
    given.notes += _label_notes(folder, classes, below, numbers, labelled, len(labels))


def _label_notes(
    folder: Path, classes: Sequence[str], below: Sequence[str], numbers: Mapping[str, int], labelled: int, total: int
) -> Iterable[str]:
    """Which folders were taken for labels, and which ones only look as if they were meant to be."""
    if numbers:
        yield (
            f"labels were taken from the folders in {folder}: {len(numbers)} of them are called like classes of the "
            f"model, and hold {labelled:,} of {counted(total, 'image')}"
        )
    rest = [name for name in below if name not in numbers]
    alike = [
        f"{pair(name, each)} differ only in {words}"
        for name in rest
        for each in classes
        if (words := likeness(name, each))
    ]
    if rest and (numbers or alike):
        hint = f" ({'; '.join(alike[:3])})" if alike else ""
        yield f"without a label in {folder}: the images in {listed(rest)}, since the model has no such class{hint}"
    splits = [name for name in rest if any(name.lower() in names for names in FOLDER_NAMES.values())]
    if splits and not numbers:
        yield (
            f"no labels were used: {folder} holds splits and no class folders. Name one of them, such as "
            f"{folder / splits[0]}, to compare the predictions with its class folders"
        )


def known_notes(given: Given, data: Mapping[str, object]) -> list[str]:
    """What predictions for the model's own data are worth: of whole folders, of folders in them and of single files.

    Args:
        given: the images.
        data: the `data` part of the model's configuration.
    """
    name, root = str(data.get("name")), data.get("root")
    if name in MIXED:
        return _notes_on_mixed(given, name, Path(str(root or DEFAULT_ROOT)))
    if not isinstance(root, str):
        return []
    if name == "table":
        return _notes_on_table(given, root)
    if name != "image_folder":
        return []
    ignored = data.get("ignore")
    ignored = tuple(ignored) if isinstance(ignored, list | tuple) else ()
    notes: dict[Role, str] = {}
    for folder in _places(given):
        with suppress(PathError, ValueError):  # ValueError: it lies elsewhere
            first = folder.resolve().relative_to(Path(expanded(root)).resolve()).parts[:1]
            for role, names in FOLDER_NAMES.items():
                if first and first[0].lower() in names and first[0] not in ignored and role not in notes:
                    notes[role] = (
                        f"the model's own {role} images are in {folder}: {_WORTH[role]}"
                        f"{_held_out(role, Path(expanded(root)), ignored)}"
                    )
    return list(notes.values())


def _places(given: Given) -> list[Path]:
    """The folders that were given, and those of single files."""
    return list(dict.fromkeys([*given.folders, *(file.parent for file in given.files)]))


def _held_out(role: Role, root: Path, ignored: Sequence[str]) -> str:
    """What else lies among the training images, where the model knows no test images of their own."""
    names = [each.name for each in root.iterdir() if each.name not in ignored]
    if role != "training" or any(name.lower() in FOLDER_NAMES["test"] for name in names):
        return ""
    return (
        ". A sixth of them is held out as the test images of the study, which only `cifar-tune finalize` should look "
        "at: do not choose between models by this accuracy"
    )


def _notes_on_mixed(given: Given, name: str, root: Path) -> list[str]:
    notes = []
    for folder in _places(given):
        with suppress(PathError):
            if folder.resolve().is_relative_to(Path(expanded(str(root))).resolve()):
                notes.append(
                    f"{folder} may hold images of {name}, the model's own data, of all splits: the model has learned "
                    f"some of them, and others are its test images, so do not choose between models by this accuracy"
                )
    return notes[:1]


def _notes_on_table(given: Given, root: str) -> list[str]:
    notes = []
    for folder in _places(given):
        with suppress(PathError, ValueError, OSError):  # a description of others can name anything
            table = Path(expanded(root)).resolve()
            if table.is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(table.parent):
                notes.append(
                    f"the model's own images are listed in {root}, beside {folder}: if these are the same images, the "
                    f"model has learned most of them, and the others may be its test images"
                )
    return notes[:1]
