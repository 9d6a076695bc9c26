"""Where initial weights come from, as the knob `init_from` names it: a file and its SHA-256.

The study file names a model folder or a safetensors file. Whoever reads it adds the hash: `pets@sha256:5f7c…`. In this
form it is stored and exported, and training refuses a file with another hash.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cifar_tune.files import open_regular
from cifar_tune.paths import PathError, expanded

FRESH = "none"
"""Weights are drawn from the seed."""

TIMM = "timm"
"""The published weights of timm's model of that name."""

WEIGHTS_FILE = "model.safetensors"
"""In a model folder."""

_PINNED = re.compile(r"(?P<path>.+)@sha256:(?P<sha256>[0-9a-f]{64})", re.DOTALL)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """A value of the knob, taken apart.

    Attributes:
        path: the model folder or the file, as it was given.
        sha256: of the file's content, in hex.
    """

    path: str
    sha256: str

    @property
    def file(self) -> Path:
        """The file with the weights on this machine.

        Raises:
            PathError: the path stands for nothing on this machine.
        """
        path = Path(expanded(self.path))
        return path / WEIGHTS_FILE if path.is_dir() else path

    def is_content(self, content: bytes) -> bool:
        """Whether this is the content of the file that was meant."""
        return hashlib.sha256(content).hexdigest() == self.sha256


def pinned(given: str) -> str:
    """The value of the knob for what somebody gave: with the hash of the file, if it is one.

    Raises:
        ValueError: there is no such file; says what is there.
    """
    if given in (FRESH, TIMM) or _PINNED.fullmatch(given):
        return given
    try:
        file = WeightsSource(given, "").file
        with open_regular(file, follow_links=True) as content:
            digest = hashlib.file_digest(content, "sha256")
    except PathError as error:
        raise ValueError(str(error)) from error
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        rule = f"must be a model folder or a safetensors file, or {FRESH} or {TIMM}; there is no file {given!r}"
        if Path(given).is_dir():
            rule = f"must be a model folder, and this folder holds no {WEIGHTS_FILE}"
        raise ValueError(rule) from error
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
    return f"{given}@sha256:{digest.hexdigest()}"


def weights_source(value: str) -> WeightsSource | None:
    """The file that a value of the knob names; None where it names none."""
    match = _PINNED.fullmatch(value)
    return None if match is None else WeightsSource(match["path"], match["sha256"])
