"""What a file format can do."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
from torch.export import ExportedProgram

from cifar_tune.conversion.agreement import Logits
from cifar_tune.conversion.formats import FORMATS

Images = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
"""[N, 3, H, W]: uint8 for a file with its preprocessing inside, else float32 and normalised."""

Run = Callable[[Images], Logits]
"""Gives the logits of a batch."""


class FileFormat(Protocol):
    """The functions in the module of a format."""

    def contents(self, program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
        """The content of a file, with these values as its metadata.

        Raises:
            CheckError: the format cannot hold the model.
        """
        ...

    def opened(self, content: bytes) -> Run:
        """The content as whoever uses the file will run it.

        Raises:
            CheckError: it cannot be run.
        """
        ...

    def metadata(self, content: bytes) -> dict[str, str]:
        """The metadata in a file; empty where it has none, or another format."""
        ...


def file_format(name: str) -> FileFormat:
    """The format of this name; its module is imported only now."""
    return cast(FileFormat, import_module(FORMATS[name].module))
