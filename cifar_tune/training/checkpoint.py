"""The state of a training in a file, from which another process goes on."""

import os
import pickle
import tempfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from cifar_tune.errors import CifarTuneError
from cifar_tune.knobs.configuration import Configuration

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
    if state["version"] != VERSION:
        raise CheckpointError(f"{path} has version {state['version']} of the format; this program reads {VERSION}")
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
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except (RuntimeError, pickle.UnpicklingError) as error:  # torch's zip reader; its restricted unpickler
        raise CheckpointError(f"{path}: damaged or not a checkpoint") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of cifar-tune")
    return state


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
