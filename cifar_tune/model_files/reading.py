"""Reads what lies in a model folder, checks it, and runs nothing of it. Without torch."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from cifar_tune.errors import Problem, UserError, nearest_name
from cifar_tune.files import open_regular, read_regular
from cifar_tune.knobs.plugin import PluginFile
from cifar_tune.model_files.description import (
    CARD_FILE,
    DESCRIPTION_FILE,
    MOST_BYTES,
    WEIGHTS_FILE,
    ModelDescription,
    PluginCopy,
    parse_description,
)
from cifar_tune.paths import given_path
from cifar_tune.plugins.files import MAX_BYTES as MOST_BYTES_OF_PLUGIN
from cifar_tune.plugins.meaning import meaning_of

MOST_BYTES_OF_WEIGHTS = 16 * 2**30


def read_description(folder: str | Path) -> ModelDescription:
    """Read what `model.json` says; nothing else in the folder is opened.

    Raises:
        UserError: there is no such folder, it holds no model, or its description cannot be used.
    """
    path = given_path(folder, "FOLDER")
    if not path.is_dir():
        raise UserError(Problem(*_no_folder(path), nearest=_nearest(path)))
    if not (path / DESCRIPTION_FILE).exists():
        rule = (
            f"holds no model: there is no {DESCRIPTION_FILE} in it. `cifar-tune finalize STUDY` and "
            f"`cifar-tune train CONFIG --save FOLDER` write one"
        )
        raise UserError(Problem(rule, source=str(path)))
    return parse_description(read_file(path / DESCRIPTION_FILE, MOST_BYTES), str(path / DESCRIPTION_FILE))


def read_weights(folder: str | Path, description: ModelDescription) -> bytes:
    """The content of `model.safetensors`, whole.

    Raises:
        UserError: it is missing, cannot be read, or is not the file that the description was written for.
    """
    path = given_path(folder, "FOLDER") / WEIGHTS_FILE
    content = read_file(path, MOST_BYTES_OF_WEIGHTS)
    found = hashlib.sha256(content).hexdigest()
    if found != description.weights_sha256:
        rule = (
            f"is damaged, or belongs to another model: its sha256 is {found}, and {DESCRIPTION_FILE} says "
            f"{description.weights_sha256}. Copy the whole folder again"
        )
        raise UserError(Problem(rule, source=str(path)))
    return content


def read_plugin_copies(folder: str | Path, description: ModelDescription) -> list[PluginFile]:
    """The plugin files of the folder, as text; none is run.

    Raises:
        UserError: one is missing, or is not the file that was used.
    """
    root = given_path(folder, "FOLDER")
    files = []
    for copy in description.plugins:
        try:
            text = _plugin_copy(root, copy).decode("utf-8-sig")
            content, meaning = copy.sha256, meaning_of(text)
            if copy.module:  # the digests are those of its whole package
                content, meaning = (str(copy.described.get(name, "")) for name in ("sha256", "meaning"))
            files.append(PluginFile(copy.path, content, text, meaning, module=copy.module))
        except UnicodeDecodeError as error:
            rule = f"is not UTF-8 text (byte {error.start})"
            raise UserError(Problem(rule, source=str(root / copy.file))) from error
    return files


def read_all(folder: str | Path) -> tuple[ModelDescription, dict[str, bytes]]:
    """The description, and every file of the model by its path below the folder; all are checked, nothing is run.

    Raises:
        UserError: one is missing, cannot be read or is not the file that was written.
    """
    root = given_path(folder, "FOLDER")
    description = read_description(root)
    files = {WEIGHTS_FILE: read_weights(root, description)}
    files |= {copy.file: _plugin_copy(root, copy) for copy in description.plugins}
    files |= {name: read_file(root / name, MOST_BYTES) for name in (CARD_FILE, DESCRIPTION_FILE)}
    return description, files


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model folder that is handed out without being read into memory.

    Attributes:
        root: the folder.
        path: of the file.
        sha256: of its content, in hex; None where the description names none.
        most_bytes: a file that has more is refused.
    """

    root: Path
    path: Path
    sha256: str | None
    most_bytes: int

    def size(self) -> int:
        """Its size in bytes.

        Raises:
            UserError: as `open`, except that the content is not looked at.
        """
        with self._opened() as file:
            return os.fstat(file.fileno()).st_size

    def open(self) -> BufferedReader:
        """The file at its beginning, open for reading; it is read once before, in pieces, where its digest is known.

        Raises:
            UserError: it is missing, is a link or lies behind one, is no regular file, has more than `most_bytes`, or
                is not the file that was written.
        """
        file = self._opened()
        try:
            if self.sha256 is not None:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != self.sha256:
                    rule = f"is damaged, or belongs to another model: its sha256 is {found} instead of {self.sha256}"
                    raise UserError(Problem(rule, source=str(self.path)))
                file.seek(0)
        except OSError as error:
            file.close()
            raise UserError(Problem(f"cannot be read: {error.strerror}", source=str(self.path))) from error
        except BaseException:
            file.close()
            raise
        return file

    def _opened(self) -> BufferedReader:
        try:
            if self.path.parent.resolve() != self.root.resolve() / self.path.parent.relative_to(self.root):
                raise UserError(Problem("lies behind a link, which is not followed", source=str(self.path)))
            file = open_regular(self.path)
        except FileNotFoundError as error:
            raise UserError(Problem("is missing: copy the whole folder again", source=str(self.path))) from error
        except OSError as error:
            raise UserError(Problem(f"cannot be read: {error.strerror}", source=str(self.path))) from error
        if os.fstat(file.fileno()).st_size > self.most_bytes:
            file.close()
            raise UserError(Problem(f"has more than {self.most_bytes:,} bytes", source=str(self.path)))
        return file


def model_files(folder: str | Path) -> tuple[ModelDescription, Mapping[str, ModelFile]]:
    """The description, and the files of the model by their path below the folder; of these, none is opened.

    Raises:
        UserError: there is no such folder, it holds no model, or its description cannot be used.
    """
    root = given_path(folder, "FOLDER")
    description = read_description(root)
    files = {WEIGHTS_FILE: ModelFile(root, root / WEIGHTS_FILE, description.weights_sha256, MOST_BYTES_OF_WEIGHTS)}
    for copy in description.plugins:
        files[copy.file] = ModelFile(root, root / copy.file, copy.sha256, MOST_BYTES_OF_PLUGIN)
    for name in (CARD_FILE, DESCRIPTION_FILE):
        files[name] = ModelFile(root, root / name, None, MOST_BYTES)
    return description, files


def _plugin_copy(root: Path, copy: PluginCopy) -> bytes:
    content = read_file(root / copy.file, MOST_BYTES_OF_PLUGIN)
    found = hashlib.sha256(content).hexdigest()
    if found != copy.sha256:
        rule = f"is not the plugin that the model was trained with: its sha256 is {found} instead of {copy.sha256}"
        raise UserError(Problem(rule, source=str(root / copy.file)))
    return content


def read_file(path: Path, most_bytes: int) -> bytes:
    """The content of a file of a model folder. Links are followed, as caches of model hubs use them; pipes are not.

    Raises:
        UserError: it is missing, cannot be read, is no file, or has more than `most_bytes`.
    """
    try:
        return read_regular(path, most_bytes, follow_links=True)
    except FileNotFoundError as error:
        raise UserError(Problem("is missing: copy the whole folder again", source=str(path))) from error
    except OSError as error:
        raise UserError(Problem(f"cannot be read: {error.strerror}", source=str(path))) from error


def _no_folder(path: Path) -> tuple[str, str, str]:
    rule = "is a file; give the folder that it lies in" if path.exists() else "there is no such folder"
    return rule, "FOLDER", str(path)


def _nearest(path: Path) -> str | None:
    if path.exists() or not path.parent.is_dir():
        return None
    name = nearest_name(path.name, [each.name for each in path.parent.iterdir() if each.is_dir()])
    return None if name is None else str(path.with_name(name))
