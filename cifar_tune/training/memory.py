"""Memory that ran out, and memory that is given back."""

import gc

import torch

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
