"""Reads NumPy's files with care: nothing is unpickled, and whatever is wrong with a file is told in a sentence."""

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from cifar_tune.files import open_regular

Array = npt.NDArray[Any]

_SUFFIX = ".npy"
_Found = TypeVar("_Found")


class ArrayFileError(Exception):
    """A file that cannot be used. The message is the rule that it breaks."""


def array_names(root: Path) -> Mapping[str, Path]:
    """The names of all arrays in an `.npz` file or a folder of `.npy` files, and the file of each.

    Raises:
        ArrayFileError: there is no such file or folder, or it is something else.
    """
    if root.is_dir():
        return {path.stem: path for path in sorted(root.glob(f"*{_SUFFIX}"))}
    if root.suffix == _SUFFIX:
        raise ArrayFileError(
            f"must be a folder with {_SUFFIX} files of images and of labels, or an .npz file; give the folder of this "
            f"file"
        )

    def names(archive: zipfile.ZipFile) -> Mapping[str, Path]:
        found = Counter(name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX))
        twice = [name for name, count in found.items() if count > 1]
        if twice:
            raise ArrayFileError(f"holds two arrays of the name {twice[0]}: save each of them once")
        return dict.fromkeys(found, root)

    return _from_archive(root, names, "is no .npz file, or is damaged")


def read_array(path: Path, name: str) -> Array:
    """The array of this name; that of an `.npy` file is memory-mapped.

    Args:
        path: the file, as `array_names` gives it.
        name: of the array.

    Raises:
        ArrayFileError: it cannot be read.
    """
    if path.suffix != _SUFFIX:
        return _from_archive(path, lambda archive: _unpacked(archive, name), f"{name} cannot be read")
    try:
        open_regular(path, follow_links=True).close()  # numpy would wait for a pipe
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except Exception as error:  # numpy's reader raises almost anything on broken files
        raise ArrayFileError(f"{name} cannot be read: {_reason(error)}") from error


def array_type(path: Path, name: str) -> np.dtype[Any] | None:
    """The dtype of an array, out of its header alone; None where the header cannot be read.

    Args:
        path: the file, as `array_names` gives it.
        name: of the array.
    """
    try:
        with open_regular(path, follow_links=True) as file:
            if path.suffix == _SUFFIX:
                return _type_in(file)
            with zipfile.ZipFile(file) as archive, archive.open(f"{name}{_SUFFIX}") as member:
                return _type_in(member)
    except Exception:  # noqa: BLE001 (numpy and zipfile raise almost anything; whoever reads the array says what)
        return None


def _type_in(file: IO[bytes]) -> np.dtype[Any] | None:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    return readers[version](file)[2] if version in readers else None  # later versions are for names of fields


def _from_archive(path: Path, read: Callable[[zipfile.ZipFile], _Found], fault: str) -> _Found:
    try:
        with open_regular(path, follow_links=True) as file, zipfile.ZipFile(file) as archive:
            return read(archive)
    except FileNotFoundError as error:
        raise ArrayFileError("there is no such file or folder") from error
    except ArrayFileError:
        raise
    except Exception as error:  # numpy, zipfile and the codecs raise almost anything on broken files
        raise ArrayFileError(f"{fault}: {_reason(error)}") from error


def _unpacked(archive: zipfile.ZipFile, name: str) -> Array:
    info = archive.getinfo(f"{name}{_SUFFIX}")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if info.file_size > memory:
        raise MemoryError
    with archive.open(info) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _reason(error: Exception) -> str:
    """What is wrong, in words that help; most of what numpy says of a broken header does not."""
    if isinstance(error, MemoryError):
        return (
            f"it needs more memory than this machine has; save it as an {_SUFFIX} file in a folder, which is read "
            f"image by image"
        )
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = (str(error).splitlines() or [""])[0]
    if "allow_pickle" in said or "Python objects" in said:
        return "it holds Python objects, which are not read, since they can run code; save numbers or text"
    is_told = isinstance(error, ValueError | zipfile.BadZipFile | RuntimeError | NotImplementedError)
    if is_told and not any(words in said for words in (" at 0x", "EOF", "mmap length")):
        return said[:200]
    return "it is damaged, or cut short; save or copy it again"
