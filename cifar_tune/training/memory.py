"""Telling that memory ran out from everything else that can go wrong."""

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
