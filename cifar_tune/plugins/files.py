"""Finding and reading a plugin's file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from cifar_tune.errors import nearest_name
from cifar_tune.knobs.plugin import PluginFile, is_same_code
from cifar_tune.paths import PathError, expanded
from cifar_tune.plugins.installed import installed_names, is_entry_point_name, read_installed
from cifar_tune.plugins.meaning import meaning_of

MAX_BYTES = 1_000_000


class PluginFileError(Exception):
    """A file that is no plugin: the rule that it breaks, and the file that was most likely meant."""

    def __init__(self, rule: str, nearest: str | None = None) -> None:
        super().__init__(rule)
        self.nearest = nearest


def read_plugin_file(path: str, beside: Path | None = None, folder: str = "") -> PluginFile:
    """Read a plugin: a Python file, or an installed package by the name of its entry point.

    A file lies beside the study file that names it, or below the folder that the command was started in.

    Args:
        path: as it is named.
        beside: the folder of the study file, if there is one.
        folder: where it was found before (`PluginFile.folder`).

    Raises:
        PluginFileError: the path leads elsewhere, the file cannot be read, or two files differ that are meant.
    """
    try:
        path = expanded(path)
    except PathError as error:
        raise PluginFileError(str(error)) from error
    if is_entry_point_name(path):
        try:
            return read_installed(path)
        except LookupError as error:
            raise PluginFileError(str(error.args[0]), nearest_name(path, installed_names())) from error
    if not path.isprintable() or PurePosixPath(path).suffix != ".py":
        raise PluginFileError("must be a Python file, such as my_parts.py")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise PluginFileError("must lie below the folder of the study file or the one you start in, without `..`")
    here = Path.cwd().resolve()
    candidates = [beside, Path(folder) if folder else None, here]
    bases = list(dict.fromkeys(each.resolve() for each in candidates if each is not None))
    found = [file for base in bases if (file := _read_below(base, path, here)) is not None]
    if not found:
        raise PluginFileError(f"there is no such file in {_searched(beside, bases, here)}", _nearest(path, bases))
    first, *others = found
    for other in others:
        if not is_same_code(first.sha256, first.meaning, other.sha256, other.meaning):
            started = "the folder that cifar-tune is started in"
            places = " and in ".join(str(here / each.folder) if each.folder else started for each in (first, other))
            rule = f"there are two such files with different code, in {places}"
            raise PluginFileError(f"{rule}: remove or rename the one that is not meant")
    return first


def _searched(beside: Path | None, bases: Sequence[Path], here: Path) -> str:
    """The folders that were looked through, for people."""
    if beside is None or beside.resolve() != here:
        return _words(bases, here)
    others = [str(base) for base in bases if base != here]
    return " or ".join([*others, f"{here} (the folder of the study file, in which cifar-tune was started)"])


def _words(bases: Sequence[Path], here: Path) -> str:
    started = "the folder that cifar-tune is started in"
    others = [str(base) for base in bases if base.resolve() != here]
    return " or ".join([*others, started])


def _read_below(folder: Path, path: str, here: Path) -> PluginFile | None:
    """The file in this folder; None where there is none."""
    try:
        file = (folder / path).resolve()
        if not file.is_relative_to(folder):
            raise PluginFileError(f"leads out of {_words([folder], here) if folder == here else folder}, to {file}")
        if not file.exists():
            return None
        if not file.is_file() and not file.is_dir():
            raise PluginFileError("is a device or a pipe, and no file")
        if file.stat().st_size > MAX_BYTES:
            raise PluginFileError(f"is larger than {MAX_BYTES:,} bytes")
        content = file.read_bytes()
    except RuntimeError as error:  # pathlib's word for links in a circle
        raise PluginFileError("cannot be read: its symbolic links go in a circle") from error
    except OSError as error:
        raise PluginFileError(f"cannot be read: {error.strerror}") from error
    try:
        source = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PluginFileError(f"is not UTF-8 text (byte {error.start})") from error
    digest = hashlib.sha256(content).hexdigest()
    kept = "" if folder == here else _kept(folder, here)
    return PluginFile(PurePosixPath(path).as_posix(), digest, source, meaning_of(source), kept)


def _kept(folder: Path, here: Path) -> str:
    return folder.relative_to(here).as_posix() if folder.is_relative_to(here) else str(folder)


def _nearest(path: str, bases: Sequence[Path]) -> str | None:
    for base in bases:
        folder = (base / path).parent
        nearest = nearest_name(Path(path).name, [file.name for file in folder.glob("*.py")])
        if nearest:
            return (Path(path).parent / nearest).as_posix()
    return None
