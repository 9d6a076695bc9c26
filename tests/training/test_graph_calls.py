"""Which calls of CUDA a capture makes, and in which order, also where something fails. CUDA is played."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace, TracebackType

import pytest
import torch

from cifar_tune.training import graphs
from cifar_tune.training.graphs import CudaGraphs

GPU = torch.device("cuda", 0)


class Stream:
    """Writes down what waits for what."""

    device = GPU

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name, self._calls = name, calls

    def wait_stream(self, other: "Stream") -> None:
        self._calls.append(f"{self._name} waits for {other._name}")

    def __str__(self) -> str:
        return self._name


class Generator:
    """Has a state that can be replaced."""

    state = 0

    def clone_state(self) -> "Generator":
        return self

    def graphsafe_set_state(self, _state: "Generator") -> None:
        self.state += 1


class Cuda:
    """The part of `torch.cuda` that is used."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.generator = Generator()
        self.end_fails = False
        self.outside = Stream("outside", self.calls)
        self._pools = 0
        patch.setattr(graphs, "_streams", {GPU: Stream("inside", self.calls)})
        patch.setattr(graphs, "end_capture", lambda _device, pool: self.calls.append(f"pool {pool} is ended"))
        for name in ("current_stream", "stream", "graph", "graph_pool_handle", "set_stream"):
            patch.setattr(torch.cuda, name, getattr(self, name))
        patch.setattr(torch.cuda, "default_generators", (self.generator,))
        patch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(register_generator_state=self.register))
        patch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
        patch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: self.calls.append(f"waits: {mode}"))

    def current_stream(self, _device: torch.device) -> Stream:
        return self.outside

    def graph_pool_handle(self) -> int:
        self._pools += 1
        return self._pools

    def set_stream(self, stream: Stream) -> None:
        self.calls.append(f"on {stream}")

    def register(self, generator: Generator) -> None:
        self.calls.append("a generator is registered")

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        self.calls.append(f"on {stream}")
        try:
            yield
        finally:
            self.calls.append("as before")

    def graph(self, _graph: object, pool: int, stream: Stream, capture_error_mode: str) -> "Cuda":
        self.calls.append(f"captures on {stream} into {pool}, {capture_error_mode}")
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: type | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self.end_fails:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


@pytest.mark.parametrize("fails", [False, True])
def test_streams_wait_for_each_other_before_and_after_a_warm_up(cuda: Cuda, fails: bool) -> None:
    """Else a stream could use memory that the other one has freed, but not left yet."""
    with suppress(ZeroDivisionError), CudaGraphs(GPU).warm_up():
        cuda.calls.append("work")
        if fails:
            raise ZeroDivisionError
    assert cuda.calls == [
        "inside waits for outside",
        "on inside",
        "waits: warn",
        "work",
        "waits: 0",
        "as before",
        "outside waits for inside",
    ]


def test_what_is_drawn_from_is_registered_before_a_capture(cuda: Cuda) -> None:
    made = CudaGraphs(GPU)
    captured = made.capture(lambda: "result", [torch.Generator()])
    assert cuda.calls == ["a generator is registered", "captures on inside into 1, thread_local"]
    assert (captured.result, captured.is_sound) == ("result", True)


@pytest.mark.parametrize("end_fails", [False, True])
def test_a_capture_that_fails_spoils_what_shares_its_pool_and_leaves_everything_else_as_it_was(
    cuda: Cuda, end_fails: bool
) -> None:
    """Whether the work itself fails, or CUDA says it at the end, where torch does not leave the stream."""
    made = CudaGraphs(GPU)
    earlier = made.capture(lambda: 1, [])
    cuda.calls.clear()
    cuda.end_fails = end_fails

    def work() -> None:
        if not end_fails:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError):
        made.capture(work, [])
    assert cuda.calls == ["captures on inside into 1, thread_local", "on outside", "pool 1 is ended"]
    assert cuda.generator.state == 1
    assert not earlier.is_sound
    cuda.end_fails = False
    assert made.capture(lambda: 2, []).is_sound
    assert cuda.calls[-1] == "captures on inside into 2, thread_local"
