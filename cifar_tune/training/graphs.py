"""CUDA graphs: work on the device that is captured once, and then repeated by one launch.

What a graph repeats is which kernels ran on which memory, with which numbers from the host; none of the captured Python
code runs again. So whatever changes from one repetition to the next must be in tensors that stay where they are. See
"Accelerating PyTorch with CUDA graphs" (pytorch.org/blog/accelerating-pytorch-with-cuda-graphs).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

import torch

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.failures import is_device_lost

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Captured(Protocol[T_co]):
    """Work that was captured."""

    @property
    def result(self) -> T_co:
        """What the work returned. Its tensors hold the values of the latest replay, and none before the first."""
        ...

    def replay(self) -> None:
        """Do the work again; nothing waits for it."""
        ...


class Graphs(Protocol):
    """Captures work; what is captured shares one pool of memory, and is replayed one after the other."""

    def warm_up(self) -> AbstractContextManager[object]:
        """Where work runs that shall be captured later: libraries then have their memory before."""
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
    def __init__(self, graph: torch.cuda.CUDAGraph, result: T) -> None:
        self._graph = graph
        self.result = result

    def replay(self) -> None:
        self._graph.replay()


class CudaGraphs:
    """Graphs of one GPU.

    The memory of their pool goes back when the last one is gone, and `failures.release` was called.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = _capture_stream(device)

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """On the stream of the captures: what cuBLAS allocates for a stream would else come out of the pool."""
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Captured[T]:
        """See `Graphs`."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            result = work()
        return _CudaCaptured(graph, result)


_streams: dict[torch.device, torch.cuda.Stream] = {}
"""Of each GPU the one on which everything is captured: cuBLAS keeps memory for every stream that it was used on."""


def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _streams[device]


def graphs_on(device: torch.device, config: Configuration) -> Graphs | None:
    """What captures the steps of this configuration; None where they run as they are."""
    return CudaGraphs(device) if device.type == "cuda" and config.flag("cuda_graphs") else None


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
        self.problem = ""

    @property
    def is_ready(self) -> bool:
        """Whether there is something to replay."""
        return self._captured is not None

    def warming_up(self) -> AbstractContextManager[object]:
        """Where the work runs as it is before it is captured."""
        return self._graphs.warm_up()

    def capture(self, work: Callable[[], T]) -> None:
        """Capture the work; afterwards `is_ready` or `problem` says how that went."""
        try:
            self._captured = self._graphs.capture(work, list(self._generators.values()))
        except RuntimeError as error:
            if is_device_lost(error):
                raise
            self.problem = str(error).partition("\n")[0] or type(error).__name__
        # Not before the next one is there: a pool without any graph is gone.
        self._outdated = None

    def replay(self) -> T:
        """Do the work again, and return its result."""
        if self._captured is None:
            raise RuntimeError("nothing was captured")
        self._captured.replay()
        return self._captured.result

    def forget(self) -> None:
        """The work is another one from now on: it must be captured again."""
        self._outdated, self._captured = self._captured or self._outdated, None
