"""Checkpoints written beside the training, which goes on meanwhile."""

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from torch import Tensor

from cifar_tune.training.checkpoint import save


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
