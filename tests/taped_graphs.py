"""CUDA graphs without CUDA: what a capture does on the CPU is written down, operation by operation, and done again.

As of a CUDA graph, all that a replay knows is which operations ran on which memory, with which numbers from the host.
None of the captured Python code runs again, and every tensor stays where it was. A capture itself changes no tensor and
no generator.

What a capture on a GPU refuses, this one refuses too: reading a number, shapes that depend on numbers, numbers that are
copied from the host into a tensor, and generators that the graph was not told of.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

T = TypeVar("T")
_ATEN = torch.ops.aten
_REFUSED = {
    _ATEN._local_scalar_dense.default: "the host reads a number",
    _ATEN.nonzero.default: "a shape depends on numbers",
    _ATEN.masked_select.default: "a shape depends on numbers",
    _ATEN.lift_fresh.default: "a tensor is copied from the host",
    # Where algorithms are repeatable, a GPU takes others for these, which in some versions of torch read an index.
    _ATEN.index_copy_.default: "the host reads the largest index",
    _ATEN.index_copy.default: "the host reads the largest index",
    _ATEN.scatter_.src: "the host reads the largest index",
    _ATEN.scatter.src: "the host reads the largest index",
    _ATEN.index_put_.default: "the host reads the largest index",
    _ATEN.index_put.default: "the host reads the largest index",
}
_INDEXED = (_ATEN.index.Tensor,)


class RefusedError(RuntimeError):
    """A capture cannot hold this."""


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Does what is done, and notes it down."""

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made: dict[int, Tensor] = {}
        self.before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._generators = list(generators)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _REFUSED and not (func is _ATEN.lift_fresh.default and _counts_on_the_cpu()):
            raise RefusedError(_REFUSED[func])
        if func in _INDEXED and any(index.dtype == torch.bool for index in tensors(args[1])):
            raise RefusedError("a shape depends on numbers")
        for value in leaves((args, kwargs)):
            if isinstance(value, torch.Generator) and not self._knows(value):
                raise RefusedError("a generator is not registered")
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in self.made and storage._cdata not in self.before:
                    self.before[storage._cdata] = (storage, storage.clone())  # type: ignore[no-untyped-call]
        given = _as_they_are((args, kwargs))
        results = func(*args, **kwargs)
        self.calls.append((func, *given, _as_they_are(results)))
        for tensor in tensors(results):
            storage = tensor.untyped_storage()
            if storage._cdata not in self.before:
                self.made[storage._cdata] = tensor
        return results

    def _knows(self, generator: torch.Generator) -> bool:
        """Torch hands on another object for the same generator: it is known by its state."""
        return any(known.get_state().equal(generator.get_state()) for known in self._generators)


class Taped(Generic[T]):
    """What was captured; see `cifar_tune.training.graphs.Captured`."""

    is_sound = True

    def __init__(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> None:
        known = [torch.default_generator, *generators]
        states = [generator.get_state() for generator in known]
        tape = _Tape(generators)
        self._in_inference = torch.is_inference_mode_enabled()
        try:
            with tape:
                self.result = work()
        finally:  # a capture runs nothing
            for storage, copy in tape.before.values():
                storage.copy_(copy)
            for generator, state in zip(known, states, strict=True):
                generator.set_state(state)
        with torch.inference_mode(self._in_inference), torch.no_grad():
            for tensor in tape.made.values():
                if tensor.is_floating_point():
                    tensor.fill_(torch.nan)
        self._calls = [planned for call in tape.calls for planned in _planned(*call)]
        self.replays = 0

    def replay(self) -> None:
        """Do every operation again, on the same memory."""
        self.replays += 1
        with torch.inference_mode(self._in_inference), torch.no_grad():
            for func, args, kwargs, olds in self._calls:
                results = func(*args, **kwargs)
                if olds:
                    for old, new in zip(olds, tensors(results), strict=True):
                        if old is not None:
                            old.copy_(new)


def _planned(func: Any, args: Any, kwargs: Any, results: Any) -> Iterator[tuple[Any, Any, Any, list[Tensor | None]]]:
    """What a replay does with a call, if anything, and which of the old results get the new ones."""
    memory = {tensor.untyped_storage()._cdata for tensor in tensors((args, kwargs))}
    olds = [None if old.untyped_storage()._cdata in memory else old for old in tensors(results)]
    is_view = bool(olds) and not any(old is not None for old in olds) and not func._schema.is_mutable
    if not is_view:  # else it is there
        yield func, args, kwargs, olds if any(old is not None for old in olds) else []


def _counts_on_the_cpu() -> bool:
    """Whether an optimizer counts its steps: those of weights on the CPU, and of no others, by a number of the host."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if "/torch/optim/" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def _as_they_are(values: Any) -> Any:
    """The same memory in tensors of their own: some operations change the shape of a tensor in place."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, values)


def leaves(values: object) -> Iterator[object]:
    """What lies in the arguments or the results of an operation. torch's `tree_leaves` takes several times as long."""
    if isinstance(values, tuple | list):
        for value in values:
            yield from leaves(value)
    elif isinstance(values, dict):
        yield from leaves(list(values.values()))
    else:
        yield values


def tensors(values: object) -> list[Tensor]:
    """Those among them."""
    return [leaf for leaf in leaves(values) if isinstance(leaf, Tensor)]


class TapedGraphs:
    """Captures on the CPU; see `cifar_tune.training.graphs.Graphs`.

    Attributes:
        captured: everything, in its order.
    """

    def __init__(self) -> None:
        self.captured: list[Taped[Any]] = []

    def warm_up(self) -> AbstractContextManager[Sequence[str]]:
        return nullcontext(())

    def capture(self, work: Callable[[], T], generators: Iterable[torch.Generator]) -> Taped[T]:
        taped = Taped(work, generators)
        self.captured.append(taped)
        return taped
