"""Finding and reading a plugin's file."""

import hashlib
from pathlib import Path, PurePosixPath

from cifar_tune.errors import nearest_name
from cifar_tune.knobs.plugin import PluginFile
from cifar_tune.paths import PathError, expanded
from cifar_tune.plugins.meaning import meaning_of

MAX_BYTES = 1_000_000


class PluginFileError(Exception):
    """A file that is no plugin: the rule that it breaks, and the file that was most likely meant."""

    def __init__(self, rule: str, nearest: str | None = None) -> None:
        super().__init__(rule)
        self.nearest = nearest


def read_plugin_file(path: str) -> PluginFile:
    """Read a Python file below the folder that the command was started in, as `data.root` is found.

    Raises:
        PluginFileError: the path leads elsewhere, or the file cannot be read.
    """
    try:
        path = expanded(path)
    except PathError as error:
        raise PluginFileError(str(error)) from error
    if not path.isprintable() or PurePosixPath(path).suffix != ".py":
        raise PluginFileError("must be a Python file, such as my_parts.py")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise PluginFileError("must be a path below the folder that cifar-tune is started in, without `..`")
    folder = Path.cwd().resolve()
    try:
        file = (folder / path).resolve()
        if not file.is_relative_to(folder):
            raise PluginFileError(f"leads out of the folder that cifar-tune is started in, to {file}")
        if not file.exists():
            raise PluginFileError("there is no such file in the folder that cifar-tune is started in", _nearest(path))
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
    return PluginFile(PurePosixPath(path).as_posix(), digest, source, meaning_of(source))


def _nearest(path: str) -> str | None:
    folder = Path(path).parent
    nearest = nearest_name(Path(path).name, [file.name for file in folder.glob("*.py")])
    return (folder / nearest).as_posix() if nearest else None
