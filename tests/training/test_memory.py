"""Telling that memory ran out, and giving it back."""

import weakref

import pytest
import torch

from cifar_tune.training.failures import is_out_of_memory, release


def test_the_cpu_allocator() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.00 GB)"),
    ],
)
def test_out_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("std::bad_alloc"),
        RuntimeError("could not create a primitive descriptor for the convolution forward propagation primitive"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors(error: BaseException) -> None:
    assert not is_out_of_memory(error)


class Circle:
    """Refers to itself, so that only the garbage collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
def test_circles_are_collected_before_the_device_gets_its_memory_back(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    circle = weakref.ref(Circle())
    given_back: list[tuple[str, bool]] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(("cuda", circle() is None)))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: given_back.append(("mps", circle() is None)))
    release(torch.device(kind))
    assert circle() is None
    assert given_back == ([] if kind == "cpu" else [(kind, True)])
