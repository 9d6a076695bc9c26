"""Three ways in which a training ends early: memory runs out, the GPU is lost, or the loss is not finite."""

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cifar_tune.errors import CheckError, CifarTuneError

_MESSAGES = (
    # c10/core/impl/alloc_cpu.cpp raises a plain RuntimeError: "DefaultCPUAllocator: can't allocate memory: you tried to
    # allocate N bytes. Error code 12", on Windows "DefaultCPUAllocator: not enough memory: you tried to ...".
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    # The C++ library's own exception, passed on as a RuntimeError: oneDNN's scratch memory, among others.
    "std::bad_alloc",
    # cuDNN and cuBLAS allocate work space beside torch's allocator.
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    # The driver has nothing left even for a context or a kernel (torch.AcceleratorError).
    "CUDA error: out of memory",
    # ATen's MPS allocator.
    "MPS backend out of memory",
)

_WHOLE_MESSAGES = (
    # oneDNN, about an operation that it supports: else it could not create the primitive's descriptor, and says that.
    "could not create a primitive",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory of the device, or of the machine, was not enough."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = str(error)
    return words.strip() in _WHOLE_MESSAGES or any(message in words for message in _MESSAGES)


def release(device: torch.device) -> None:
    """Free what no training uses any more, and give it back to the device, which other processes may share.

    Objects that refer to each other in a circle are collected first, since they may hold tensors. Then torch gives back
    the memory that it keeps for later tensors. Call this outside of any `except` block: inside of it, the error's
    traceback still holds every tensor of the frames that it passed through.

    Args:
        device: where a training has ended.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


_PREFIXES = ("CUDA error: ", "HIP error: ")
_WORDS = (
    # The texts of cudaGetErrorString for errors of which the CUDA runtime's documentation says: "This leaves the
    # process in an inconsistent state and any further CUDA work will return the same error. To continue using CUDA,
    # the process must be terminated and relaunched."
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "device-side assert triggered",
    "hardware stack error",
    "invalid program counter",
    "misaligned address",
    "operation not supported on global/shared address space",
    "the launch timed out and was terminated",
    "unspecified launch failure",
    # The device itself failed, or its driver.
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "context is destroyed",
    "unknown error",
)


def is_device_lost(error: BaseException) -> bool:
    """Whether every further use of the GPU by this process would fail with this error again."""
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        f"{prefix}{words}" in text for prefix in _PREFIXES for words in _WORDS
    )


class Diverged(CifarTuneError):  # noqa: N818  a state of training, as the studies name it
    """The loss is infinite or not a number.

    Attributes:
        epoch: in which it was noticed, from 1.
        what: the figure that is not finite, such as `train loss`.
    """

    def __init__(self, epoch: int, what: str) -> None:
        # Both are the exception's arguments, so that it can be pickled on its way out of a process.
        super().__init__(epoch, what)
        self.epoch = epoch
        self.what = what

    def __str__(self) -> str:
        return f"training diverged: the {self.what} of epoch {self.epoch} is not finite"


def require_finite(epoch: int, what: str, loss: float) -> None:
    """Go on only with a finite loss.

    Raises:
        Diverged: it is infinite or not a number.
    """
    if not math.isfinite(loss):
        raise Diverged(epoch, what)


@contextmanager
def training_errors(device: torch.device, advice: str = "try a smaller batch_size or width") -> Iterator[None]:
    """Say what ended a training.

    Args:
        device: where it was.
        advice: what to do where its memory did not suffice.

    Raises:
        CheckError: it diverged, or the memory did not suffice.
    """
    try:
        yield
    except Diverged as error:
        raise CheckError(str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise CheckError(f"the memory of {device} does not suffice: {advice}") from error
