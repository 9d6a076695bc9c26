"""CUDA graphs: work on the device that is captured once, and then repeated by one launch.

What a graph repeats is which kernels ran on which memory, with which numbers from the host; none of the captured Python
code runs again. So whatever changes from one repetition to the next must be in tensors that stay where they are. See
"Accelerating PyTorch with CUDA graphs" (pytorch.org/blog/accelerating-pytorch-with-cuda-graphs).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.failures import is_device_lost, is_out_of_memory
from cifar_tune.training.torch_internals import end_capture
from cifar_tune.training.torch_warnings import listening

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Captured(Protocol[T_co]):
    """Work that was captured."""

    @property
    def result(self) -> T_co:
        """What the work returned. Its tensors hold the values of the latest replay, and none before the first."""
        ...

    @property
    def is_sound(self) -> bool:
        """Whether it can still be replayed: a later capture that failed may have broken what this one relies on."""
        ...

    def replay(self) -> None:
        """Do the work again; nothing waits for it."""
        ...


class Graphs(Protocol):
    """Captures work; what is captured shares one pool of memory, and is replayed one after the other."""

    def warm_up(self) -> AbstractContextManager[Sequence[str]]:
        """Where work runs that will be captured later: libraries then have their memory before.

        Returns:
            A context whose value is filled when it ends: what in the work cannot be captured, as far as it is known.
        """
        ...

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Captured[T]:
        """Capture the work without doing it.

        Args:
            work: waits for nothing on the device, and changes nothing on the host.
            generators: those that it draws from, beside the default one of the device.

        Raises:
            RuntimeError: it cannot be captured.
        """
        ...


class _CudaCaptured(Generic[T]):
    def __init__(self, graph: torch.cuda.CUDAGraph, result: T, graphs: "CudaGraphs") -> None:
        self._graph = graph
        self._graphs = graphs
        self._pool = graphs.pool
        self.result = result

    @property
    def is_sound(self) -> bool:
        """See `Captured`."""
        return self._graphs.pool == self._pool

    def replay(self) -> None:
        self._graph.replay()


class CudaGraphs:
    """Graphs of one GPU.

    The memory of their pool goes back when the last one is gone, and `failures.release` was called.

    Args:
        device: the GPU.

    Attributes:
        pool: where their memory comes from; another one once a capture has failed.
    """

    def __init__(self, device: torch.device) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self._stream = _capture_stream(device)

    @contextmanager
    def warm_up(self) -> Iterator[Sequence[str]]:
        """On the stream of the captures: what cuBLAS allocates for a stream would else come out of the pool."""
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream), _waits() as waits:
                yield waits
        finally:  # also after an error: memory that is free now must not be used before this stream is done with it
            outside.wait_stream(self._stream)

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Captured[T]:
        """See `Graphs`."""
        graph = torch.cuda.CUDAGraph()
        drawn_from = list(generators)
        for generator in drawn_from:
            graph.register_generator_state(generator)
        device = self._stream.device
        outside = torch.cuda.current_stream(device)
        try:
            # Other threads of the process may use the GPU meanwhile.
            with torch.cuda.graph(graph, self.pool, self._stream, capture_error_mode="thread_local"):
                result = work()
        except RuntimeError:
            # An operation that a capture refuses leaves the capture's stream in place, and generators that believe
            # that they are being captured. They get new states. A graph from before would still draw from the old ones,
            # which no seed reaches any more: it is not sound from now on. Nor is the pool: torch may believe that it is
            # still captured into, or, if no other graph has used it, that it is gone.
            torch.cuda.set_stream(outside)
            end_capture(device, self.pool)
            for generator in (torch.cuda.default_generators[device.index], *drawn_from):
                generator.graphsafe_set_state(generator.clone_state())
            self.pool = torch.cuda.graph_pool_handle()
            raise
        return _CudaCaptured(graph, result, self)


_WAITS = "called a synchronizing CUDA operation"
"""So torch begins its warning."""

_MODE_IS_NEW = "Synchronization debug mode is a prototype feature"
"""So it warns whoever sets the mode."""


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Notice where the work inside waits for the GPU; the list is filled when the context ends.

    A capture refuses such work only when it meets it, and its end then fails.
    """
    found: list[str] = []
    mode = torch.cuda.get_sync_debug_mode()
    with listening(_WAITS, _MODE_IS_NEW) as heard:
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    found += [
        f"{Path(each.filename).name}, line {each.line}, waits for the GPU" for each in heard if _WAITS in each.text
    ]


_streams: dict[torch.device, torch.cuda.Stream] = {}
"""Of each GPU the one on which everything is captured: cuBLAS keeps memory for every stream that it was used on."""


def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _streams[device]


def graphs_on(device: torch.device, config: Configuration) -> Graphs | None:
    """What captures the steps of this configuration; None where they run as they are.

    torch names AMD's GPUs `cuda` too. Nobody has tried this code on one, so that nothing is captured there.
    """
    is_nvidia = device.type == "cuda" and torch.version.hip is None
    return CudaGraphs(device) if is_nvidia and config.flag("cuda_graphs") else None


class Replayed(Generic[T]):
    """Work that is captured, unless it cannot be.

    Args:
        graphs: captures it.
        generators: those that it draws from, by name; the dictionary may fill later.

    Attributes:
        problem: why it could not be captured; empty where it was not tried, or could.
    """

    def __init__(self, graphs: Graphs, generators: dict[str, torch.Generator]) -> None:
        self._graphs = graphs
        self._generators = generators
        self._captured: Captured[T] | None = None
        self._outdated: Captured[T] | None = None
        self._waits = ""
        self.problem = ""

    @property
    def is_ready(self) -> bool:
        """Whether there is something to replay."""
        return self._captured is not None and self._captured.is_sound

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Where the work runs as it is before it is captured.

        What waits for the device in the last of several runs cannot be captured: `problem` says so.
        """
        with self._graphs.warm_up() as found:
            yield
        self._waits = found[0] if found else ""

    def capture(self, work: Callable[[], T]) -> None:
        """Capture the work; afterwards `is_ready` or `problem` says how that went."""
        self.problem = self._waits
        if self.problem:
            return
        if not self.is_ready:
            self._captured = None  # one that is not sound holds memory
        try:
            self._captured = self._graphs.capture(work, list(self._generators.values()))
        except RuntimeError as error:
            if is_device_lost(error):
                raise
            self.problem = _reason(error)
        # Not before the next one is there: a pool without any graph is gone.
        self._outdated = None

    def replay(self) -> T:
        """Do the work again, and return its result."""
        if self._captured is None or not self._captured.is_sound:
            raise RuntimeError("nothing was captured")
        self._captured.replay()
        return self._captured.result

    def forget(self) -> None:
        """The work is another one from now on: it must be captured again."""
        self._outdated, self._captured = self._captured or self._outdated, None


def _reason(error: RuntimeError) -> str:
    """Why a capture failed, in one line that is the same in every trial."""
    if is_out_of_memory(error):
        return "memory ran out"
    return str(error).partition("\n")[0] or type(error).__name__
