"""The state of a training in a file, from which another process goes on."""

import math
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from cifar_tune.errors import CifarTuneError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.results import EpochResult

_SCALARS = (bool, int, float, str)
_FIGURES = frozenset(field.name for field in fields(EpochResult))

_DAMAGED = (
    # what reading a file raises that somebody has damaged or made up: zip directories, torch's zip reader, its
    # restricted unpickler, and whatever this one's own steps run into
    zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, AssertionError, EOFError, OverflowError, MemoryError, ImportError, struct.error,
)  # fmt: skip

FORMAT = "cifar-tune checkpoint"
VERSION = 1


class CheckpointError(CifarTuneError):
    """A checkpoint cannot be written, or not be used."""


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write `Training.state_dict()` to a file that is complete or absent, never half written.

    Raises:
        CheckpointError: the file cannot be written, such as on a full disk.
    """
    # In memory first: from there the file system's errors arrive as OSError, not out of torch's zip writer.
    content = BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, **state}, content)
    try:
        _replace(path, content.getbuffer())
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error.strerror}") from error


def load(path: Path, config: Configuration, fingerprint: str) -> dict[str, Any]:
    """Read the state for `Training.load_state_dict`, its tensors on the CPU.

    Args:
        path: of the file.
        config: the configuration that shall go on.
        fingerprint: of its data.

    Raises:
        CheckpointError: there is no such file, it is damaged or something else, or it belongs to another
            configuration, other data or another version of the format.
    """
    state = _read(path)
    version = state.get("version")
    if not isinstance(version, int) or version != VERSION:
        raise CheckpointError(f"{path} has version {version!r:.20} of the format; this program reads {VERSION}")
    if not _is_whole(state, config):
        raise CheckpointError(f"{path}: damaged or not a checkpoint")
    wanted = config.stored()
    if state["config"] != wanted:
        names = sorted(name for name, _ in dict(wanted.items() ^ state["config"].items()).items())
        raise CheckpointError(f"{path} belongs to another configuration, which differs in {', '.join(names)}")
    if state["data"] != fingerprint:
        raise CheckpointError(f"{path} was trained on other data, or on another split of them")
    return state


def _read(path: Path) -> dict[str, Any]:
    try:
        # The directory of a zip file stands at its end: a truncated file is none.
        if not zipfile.is_zipfile(path):
            problem = "there is no checkpoint" if not path.exists() else "truncated or not a checkpoint"
            raise CheckpointError(f"{path}: {problem}")
        _require_plain_zip(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except _DAMAGED as error:
        raise CheckpointError(f"{path}: damaged or not a checkpoint") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of cifar-tune")
    return state


def _require_plain_zip(path: Path) -> None:
    """Refuse what unpacks to more than it is: torch stores without compression, and nothing twice."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > path.stat().st_size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(f"{path}: damaged or not a checkpoint")


def _is_whole(state: Mapping[str, Any], config: Configuration) -> bool:
    """Whether everything that a checkpoint has beside its tensors is there, and of its type."""
    stored, results = state.get("config"), state.get("results")
    return (
        isinstance(stored, dict)
        and all(isinstance(name, str) and type(value) in _SCALARS for name, value in stored.items())
        and isinstance(state.get("data"), str)
        and isinstance(results, list)
        and len(results) <= config.integer("epochs")
        and all(_is_result(result, epoch) for epoch, result in enumerate(results, start=1))
    )


def _is_result(figures: object, epoch: int) -> bool:
    if not isinstance(figures, dict) or figures.keys() != _FIGURES:
        return False
    are_numbers = all(type(value) in (int, float) and math.isfinite(value) for value in figures.values())
    return are_numbers and figures["epoch"] == epoch


def _replace(path: Path, content: memoryview) -> None:
    """Write a temporary file beside `path` and rename it. Each writer has its own: two may write at once."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink()
            raise
