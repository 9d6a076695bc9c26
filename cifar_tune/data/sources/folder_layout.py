"""Which folders below `data.root` hold which split and which classes: from their names alone; no file is opened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from stat import S_ISDIR
from typing import Literal

from cifar_tune.data.sources.class_names import counterparts, likeness, listed, lookalikes, pair, require_text
from cifar_tune.data.sources.folder_files import LOOSE, LeftOut, contents, file_count
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import Problem, UserError, enumerate_names, nearest_name
from cifar_tune.paths import given_path

Role = Literal["training", "validation", "test"]

FOLDER_NAMES: Mapping[Role, tuple[str, ...]] = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""What the folder of each split may be called; upper case makes no difference."""

_WITHOUT: Mapping[Role, str] = {
    "validation": "draw the validation split from the training images instead",
    "test": "hold a sixth of the training images out for the test instead",
}
"""What happens where a folder is ignored."""


@dataclass(frozen=True)
class Layout:
    """The folders of an image folder.

    Attributes:
        root: the folder that holds them.
        train: the name of the one with the training images.
        val, test: the names of those with validation and test images, where there are such.
        classes: class names: those of the folders in `train`, in their order.
        folders: of each split that is there, by its folder's name: the names of the class folders, in that order.
        left_out: what lies beside the class folders.
        notes: what people should know, as sentences without a full stop.
        closed: why nobody here may look into the folder of the test images; None where that is no trouble.
    """

    root: Path
    train: str
    val: str | None
    test: str | None
    classes: tuple[str, ...]
    folders: Mapping[str, tuple[str, ...]]
    left_out: LeftOut
    notes: tuple[str, ...]
    closed: UserError | None = None


def find_layout(spec: DataSpec) -> Layout:
    """Find the splits and classes below `spec.root`.

    Raises:
        UserError: there is no folder of training images, or the splits or classes cannot be told for sure.
    """
    root = _existing_root(spec)
    ignored = spec.ignore or ()
    folders, files = contents(root, "", LeftOut())
    for name in ignored:
        if name not in folders:
            raise UserError(_missing("there is no such folder in data.root", "data.ignore", name, name, folders))
    folders = [name for name in folders if name not in ignored]
    found = {role: _folder_of(role, folders, root) for role in FOLDER_NAMES}
    train, val, test = found["training"], found["validation"], found["test"]
    if train is None:
        raise UserError(_without_training(spec, root, folders))
    _require_different(root, [name for name in (train, val, test) if name])
    left_out = LeftOut()
    classes = _class_folders(root, train, left_out)
    notes = lookalikes(root / train, classes)
    class_folders = {train: classes}
    closed = None
    for role, split in found.items():
        if split is None or split == train:
            continue
        try:
            class_folders[split] = _same_classes(root, role, split, train, classes, left_out, notes)
        except UserError as error:
            if role != "test" or not is_closed(error):
                raise
            closed = error  # only whoever finalizes needs it
    unread = [name for name in folders if name not in (train, val, test)]
    if unread or files:
        named = [
            f"the {kind}{'s' if len(names) > 1 else ''} {listed(names)}"
            for kind, names in (("folder", unread), ("file", files))
            if names
        ]
        notes.append(f"not read in {root}: {enumerate_names(named, 'and')}{_hint(unread, found)}")
    return Layout(root, train, val, test, classes, class_folders, left_out, tuple(notes), closed)


def is_closed(error: UserError) -> bool:
    """Whether the system lets nobody look, such as for want of a permission."""
    return isinstance(error.__cause__, OSError)


def way_on(role: Role, name: str) -> str:
    """What to do where the folder `name` of a split cannot be used."""
    return f"Either put images into {name}/<class>/, or {_WITHOUT[role]}: data: {{ignore: [{name}]}}"


def _existing_root(spec: DataSpec) -> Path:
    root = given_path(str(spec.root), "data.root")
    try:
        is_folder = S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a name with a null byte
        folders = _folders(root.parent)
        is_other = str(root) != str(Path(str(spec.root)))
        rule = f"there is no such folder{f' ({root})' if is_other else ''}"
        raise UserError(_missing(rule, "data.root", spec.root, root.name, folders)) from error
    except OSError as error:
        raise UserError(Problem(f"cannot be read ({error.strerror})", "data.root", spec.root)) from error
    if not is_folder:
        raise UserError(Problem("must be a folder, not a file", "data.root", spec.root))
    return root


def _missing(rule: str, key: str, value: object, name: str, folders: list[str]) -> Problem:
    """There is no folder `name` among `folders`: which one may be meant, and how they differ where they look alike."""
    nearest = nearest_name(name, folders)
    words = likeness(name, nearest) if nearest else None
    if nearest and words:
        return Problem(f"{rule}; {pair(name, nearest)} differ only in {words}", key, value)
    if nearest and key == "data.root":
        nearest = str(Path(str(value)).parent / nearest)
    return Problem(rule, key, value, nearest=nearest)


def _folder_of(role: Role, folders: Iterable[str], root: Path) -> str | None:
    named = [name for name in folders if name.lower() in FOLDER_NAMES[role]]
    if len(named) > 1:
        rule = (
            f"the folders {listed(named)} would all be the {role} images. Merge or rename them, or say which of them "
            f"is not to be read: data: {{ignore: [{named[-1]}]}}"
        )
        raise UserError(Problem(rule, source=str(root)))
    return named[0] if named else None


def _without_training(spec: DataSpec, root: Path, folders: list[str]) -> Problem:
    rule = "must hold a folder train with one folder of images per class in it"
    names = FOLDER_NAMES["training"]
    below = [root / name for name in folders if any(each.lower() in names for each in _folders(root / name))]
    nearest = root.parent if root.name.lower() in names else below[0] if below else None
    misspelt = nearest_name("train", folders)
    if nearest is None and misspelt:
        rule += f"; it holds {misspelt!r}"
    elif nearest is None and folders:
        rule += f"; it holds {listed(folders)}: if these are the classes, move them into a folder train"
    return Problem(rule, "data.root", spec.root, nearest=None if nearest is None else str(nearest))


def _require_different(root: Path, splits: Sequence[str]) -> None:
    for first, second in combinations(splits, 2):
        if (root / first).samefile(root / second):
            rule = f"{first} and {second} are the same folder, so what is measured would be what was trained on"
            raise UserError(Problem(rule, source=str(root)))


def _class_folders(root: Path, train: str, left_out: LeftOut) -> tuple[str, ...]:
    classes, loose = _contents(root, train, left_out)
    if len(classes) < 2:
        found = f"only {classes[0]!r}" if classes else "none"
        beside = f", and {len(loose):,} files beside them" if loose else ""
        rule = f"must hold a folder per class, at least two; found {found}{beside}"
        raise UserError(Problem(rule, source=str(root / train)))
    require_text(root / train, classes)
    return tuple(classes)


def _same_classes(
    root: Path,
    role: Role,
    name: str,
    train: str,
    classes: tuple[str, ...],
    left_out: LeftOut,
    notes: list[str],
) -> tuple[str, ...]:
    """The class folders in the folder `name` of another split, in the order of `classes`.

    Raises:
        UserError: the classes are not the same; says what can be done.
    """
    present, loose = _contents(root, name, left_out)
    if not present:
        reason = f"holds {len(loose):,} files, but no folder per class, so they have no labels" if loose else "is empty"
        raise UserError(Problem(f"{reason}. {way_on(role, name)}", source=str(root / name)))
    found = counterparts(classes, present)
    missing = [each for each in classes if each not in found]
    others = [each for each in present if each not in found.values()]
    if missing or others:
        _require_files(root, (train, missing, name), (name, others, train))
        lacks = [f"{name} lacks {listed(missing)}"] if missing else []
        lacks += [f"{train} lacks {listed(others)}"] if others else []
        alike = [
            f"{pair(each, other)} differ only in {words}"
            for each in missing
            for other in others
            if (words := likeness(each, other))
        ]
        explained = f" ({'; '.join(alike[:3])}: give them the same names)" if alike else ""
        doubled = [
            f"{pair(other, each)}, which differ only in {words}"
            for here, classes_here in ((missing, classes), (others, tuple(present)))
            for each in here
            for other in classes_here
            if other != each and (words := likeness(other, each))
        ]
        if doubled and not alike:
            explained = f" ({train if missing else name} holds both {doubled[0]}: merge them if they are one class)"
        rule = f"{train} and {name} must hold the same classes: {'; '.join(lacks)}{explained}. {way_on(role, name)}"
        raise UserError(Problem(rule, source=str(root)))
    notes += [
        f"the class {each!a} of {train} is called {other!a} in {name}: the same text in another Unicode normal form"
        for each, other in found.items()
        if each != other
    ]
    return tuple(found[each] for each in classes)


def _require_files(root: Path, *lonely: tuple[str, Sequence[str], str]) -> None:
    """Check that the class folders of a split that another split lacks hold something.

    Args:
        root: `data.root`.
        lonely: a split, its class folders that are lonely, and the split that lacks them.

    Raises:
        UserError: names the folders that are empty: they are more likely leftovers than classes.
    """
    problems = [
        Problem(f"holds no image, and {other} has no such folder: remove it, or add images to both", source=str(folder))
        for split, names, other in lonely
        for folder in (root / split / name for name in names)
        if not file_count(root, f"{split}/{folder.name}")
    ]
    if problems:
        raise UserError(problems)


def _contents(root: Path, split: str, left_out: LeftOut) -> tuple[list[str], list[str]]:
    """The names of the class folders of a split, and of the files beside them, which are left out."""
    folders, files = contents(root, split, left_out)
    for name in files:
        left_out.add(LOOSE, f"{split}/{name}")
    return folders, files


def _folders(folder: Path) -> list[str]:
    """The names of the folders in it, where it can be read."""
    try:
        return contents(folder, "", LeftOut())[0]
    except UserError:
        return []


def _hint(unread: Iterable[str], found: Mapping[Role, str | None]) -> str:
    """Which folder that is not read would be a split under another name."""
    hints = [
        f"{name!r} would be the {role} split if it were called {words[0]}"
        for role, words in FOLDER_NAMES.items()
        if found[role] is None
        for name in unread
        if any(word in name.lower() for word in words)
    ]
    return f" ({'; '.join(hints[:3])})" if hints else ""
