"""Algorithms on a GPU that give the same value every time, and what is left where there are none.

See docs.pytorch.org/docs/stable/notes/randomness.html.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cifar_tune.errors import enumerate_names
from cifar_tune.training.torch_warnings import listening


def choose_algorithms(repeatable: bool) -> None:
    """Let a training on CUDA use the fastest algorithms, or those that add up in the same order every time.

    The fastest ones are found by trying: cuDNN times all of its algorithms for every new shape, which takes seconds,
    and may choose others in another process. And some kernels add up with atomic additions, in no fixed order.

    An operation without a repeatable form runs in the one that it has; `UnrepeatableOperations` notices that.
    """
    torch.backends.cudnn.benchmark = not repeatable
    torch.backends.cudnn.deterministic = repeatable
    torch.use_deterministic_algorithms(repeatable, warn_only=True)
    # It costs a kernel for every empty tensor. torch puts the attribute into the module when it is imported.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # cuBLAS reads it when a process first multiplies on a GPU, maybe for another training than the one that wants it.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


_MARK = " does not have a deterministic implementation"
"""Behind the name of an operation, in torch's warning."""


def hide_torchs_words() -> None:
    """Do not show torch's own warning of such operations: it speaks of settings that the user has not made.

    For a process that is ours; the command line does the same in `silence_warnings`.
    """
    warnings.filterwarnings("ignore", f"(?s).*{re.escape(_MARK)}")


class UnrepeatableOperations:
    """Collects the operations of a training that have no repeatable form."""

    def __init__(self) -> None:
        self._names: list[str] = []

    @property
    def words(self) -> str:
        """Which ones there were, for people; empty if there were none."""
        if not self._names:
            return ""
        names = enumerate_names(self._names, "and")
        return f"the result is not repeatable on this GPU: PyTorch has no repeatable form of {names}"

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """Where they are noticed; all other warnings go on."""
        with listening(_MARK) as heard:
            yield
        for each in heard:
            name = each.text.partition(_MARK)[0]
            if name not in self._names:
                self._names.append(name)
