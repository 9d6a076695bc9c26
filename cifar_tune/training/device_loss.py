"""Telling the errors after which a process cannot use its GPU any more from all others."""

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
