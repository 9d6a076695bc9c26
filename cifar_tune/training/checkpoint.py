"""The state of a training in a file, written while the training goes on; another process can continue from it."""

import hashlib
import math
import os
import pickle
import struct
import zipfile
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from glob import escape
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from cifar_tune.errors import CifarTuneError
from cifar_tune.files import NotRegularError, open_regular
from cifar_tune.knobs.configuration import Configuration, as_it_ran
from cifar_tune.training.results import FIGURES
from cifar_tune.unfinished import remove_abandoned, unfinished_file

_SCALARS = (bool, int, float, str)
_NAMES = frozenset(("epoch", *FIGURES))

_DAMAGED = (
    # what reading a file raises that somebody has damaged or made up: zip directories, torch's zip reader, its
    # restricted unpickler, and whatever this one's own steps run into
    zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, AssertionError, EOFError, OverflowError, MemoryError, ImportError, struct.error,
)  # fmt: skip

VERSION = 2
_NAME = b"cifar-tune checkpoint "
_LONGEST_LINE = 120
_LARGEST = 64 * 2**30
"""Bytes of a file that is still read, where the caller knows no better."""


class CheckpointError(CifarTuneError):
    """A checkpoint cannot be written, or not be used."""


def save(path: Path, state: Mapping[str, Any], plugins: Sequence[str] = ()) -> None:
    """Write the state of a training to a file that is complete or absent, never half written.

    Args:
        path: of the file.
        state: `Training.state_dict()`.
        plugins: the identity of each plugin that the training uses (`PluginFile.identity`).

    Raises:
        CheckpointError: the file cannot be written, such as on a full disk.
    """
    # In memory first: from there the file system's errors arrive as OSError, not out of torch's zip writer.
    content = BytesIO()
    torch.save({**state, "plugins": list(plugins)}, content)
    try:
        _replace(path, first_line(content.getbuffer()), content.getbuffer())
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def load(
    path: Path,
    config: Configuration,
    fingerprint: str,
    plugins: Sequence[str] = (),
    most_bytes: int = _LARGEST,
    contents: Sequence[str] = (),
) -> dict[str, Any]:
    """Read the state for `Training.load_state_dict`, its tensors on the CPU.

    Args:
        path: of the file.
        config: the configuration that is to go on.
        fingerprint: of its data.
        plugins: the identity of each plugin that it uses (`PluginFile.identity`).
        most_bytes: a larger file is not read.
        contents: the SHA-256 of the files of the same plugins: what earlier versions wrote into checkpoints.

    Raises:
        CheckpointError: there is no such file, it is damaged or something else, or it belongs to another
            configuration, other data, other plugins or another version of the format.
    """
    state = _unpacked(path, _content(path, most_bytes))
    if not _is_whole(state, config):
        raise CheckpointError(f"{path}: damaged or not a checkpoint")
    wanted = config.stored()
    found = as_it_ran(state["config"], config.vocabulary)
    if found != wanted:
        names = sorted(name for name, _ in dict(wanted.items() ^ found.items()).items())
        raise CheckpointError(f"{path} belongs to another configuration, which differs in {', '.join(names)}")
    if state["data"] != fingerprint:
        raise CheckpointError(f"{path} was trained on other data, or on another split of them")
    if sorted(state["plugins"]) not in (sorted(plugins), sorted(contents or plugins)):
        raise CheckpointError(f"{path} was trained with other plugins, or with other code in them")
    return state


def first_line(content: bytes | memoryview) -> bytes:
    """The line that stands before this content in a checkpoint file."""
    return b"%s%d %s\n" % (_NAME, VERSION, hashlib.sha256(content).hexdigest().encode())


def _content(path: Path, most_bytes: int) -> bytes:
    """What follows the first line of a checkpoint file, once it is certain that it is what was written.

    Raises:
        CheckpointError: it is not.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            line = file.readline(_LONGEST_LINE)
            if not line.startswith(_NAME):
                raise CheckpointError(f"{path}: damaged or not a checkpoint of cifar-tune")
            version = line.removeprefix(_NAME).split(b" ")[0]
            if version != b"%d" % VERSION:
                shown = version.decode("ascii", "replace")
                raise CheckpointError(f"{path} has version {shown!r:.20} of the format; this program reads {VERSION}")
            if size > most_bytes:
                raise CheckpointError(f"{path} has {size:,} bytes: more than any state of this training")
            content = file.read(size)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no checkpoint") from error
    except NotRegularError as error:
        raise CheckpointError(f"{path} is no regular file") from error
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else error.strerror
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason}") from error
    if line != first_line(content):
        raise CheckpointError(f"{path}: damaged: its content is not what was written")
    return content


def _unpacked(path: Path, content: bytes) -> dict[str, Any]:
    try:
        _require_plain_zip(path, content)
        state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: damaged or not a checkpoint")
    return state


def _require_plain_zip(path: Path, content: bytes) -> None:
    """Refuse what unpacks to more than it is: torch stores without compression, and nothing twice."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > len(content) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{path}: damaged or not a checkpoint")


def _is_whole(state: Mapping[str, Any], config: Configuration) -> bool:
    """Whether everything that a checkpoint has beside its tensors is there, and of its type."""
    stored, results = state.get("config"), state.get("results")
    return (
        isinstance(stored, dict)
        and all(isinstance(name, str) and type(value) in _SCALARS for name, value in stored.items())
        and isinstance(state.get("data"), str)
        and _are_texts(state.get("plugins"))
        and isinstance(results, list)
        and len(results) <= config.integer("epochs")
        and all(_is_result(result, epoch) for epoch, result in enumerate(results, start=1))
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_result(figures: object, epoch: int) -> bool:
    if not isinstance(figures, dict) or figures.keys() - {"measures"} != _NAMES:
        return False
    measures = figures.get("measures", {})
    if not isinstance(measures, dict) or not all(isinstance(name, str) for name in measures):
        return False
    numbers = [*(figures[name] for name in _NAMES), *measures.values()]
    are_numbers = all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
    return are_numbers and figures["epoch"] == epoch


def _replace(path: Path, *pieces: bytes | memoryview) -> None:
    """Write a temporary file beside `path` and rename it. Each writer has its own: two may write at once.

    What a killed one left half-written is removed.
    """
    remove_abandoned(path.parent, f"{escape(path.name)}.*")
    with unfinished_file(path.parent, f"{path.name}.*") as beside:
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)


class CheckpointWriter:
    """Writes the newest state to one file from a thread of its own.

    A state that comes while an older one still waits takes its place. What goes wrong in the thread is raised by the
    next call of `write` or `flush`.

    Args:
        path: the checkpoint file; its folder exists.
        plugins: as `save` takes them.
    """

    def __init__(self, path: Path, plugins: Sequence[str] = ()) -> None:
        self.path = path
        self._plugins = plugins
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._lock = Lock()
        self._waiting: Mapping[str, Any] | None = None
        self._writes: deque[Future[None]] = deque()

    def write(self, state: Mapping[str, Any]) -> None:
        """Copy the state to the CPU now and have it written soon.

        Raises:
            CheckpointError: an earlier state could not be written.
        """
        snapshot = _copied_to_cpu(state)
        with self._lock:
            self._waiting = snapshot
        self._writes.append(self._thread.submit(self._write_waiting))
        while self._writes[0].done() and len(self._writes) > 1:
            self._writes.popleft().result()

    def flush(self) -> None:
        """Wait until the newest state is in the file.

        Raises:
            CheckpointError: a state could not be written.
        """
        while self._writes:
            self._writes.popleft().result()

    def finish(self) -> None:
        """Wait until everything handed over is written, and take nothing more. Any thread may call it.

        What goes wrong is not raised: this is for the end of a process, when nobody is left to be told.
        """
        self._thread.shutdown()

    def _write_waiting(self) -> None:
        with self._lock:
            state, self._waiting = self._waiting, None
        if state is not None:
            save(self.path, state, self._plugins)


def _copied_to_cpu(value: Any) -> Any:
    """The same structure of dictionaries and lists with copies of its tensors in the CPU's memory."""
    match value:
        case Tensor():
            return value.detach().to("cpu", copy=True)
        case Mapping():
            return {key: _copied_to_cpu(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(_copied_to_cpu(item) for item in value)
        case _:
            return value
