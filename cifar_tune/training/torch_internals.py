"""Everything that cifar-tune uses of torch and that torch does not promise to keep: names with an underscore.

Any release may change them, so they are used here and nowhere else, and each docstring says what it relies on.
`tests/training/test_torch_internals.py` tries each of them on the torch that is installed.
"""

import torch
from torch import Tensor


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source into the target at its place, in one call for all: on a GPU few kernels instead of many.

    Relies on `torch._foreach_copy_`.
    """
    torch._foreach_copy_(targets, sources)


def move_all(targets: list[Tensor], ends: list[Tensor], share: float | Tensor) -> None:
    """Move each target by `share`, from 0 to 1, of the way to the tensor at its place in `ends`, in one call for all.

    Relies on `torch._foreach_lerp_`.
    """
    torch._foreach_lerp_(targets, ends, [share] * len(targets) if isinstance(share, Tensor) else share)


def end_capture(device: torch.device, pool: tuple[int, int]) -> None:
    """Let memory no longer come from the pool of a capture that has failed.

    Up to torch 2.11 nothing else ends that: every later allocation would ask whether it belongs to the capture, and no
    memory would go back to the device. Later versions do it by themselves, and say that it is done.

    Relies on `torch._C._cuda_endAllocateToPool` and `torch._C._cuda_releasePool`.
    """
    try:
        torch._C._cuda_endAllocateToPool(device.index, pool)
    except RuntimeError:
        return
    torch._C._cuda_releasePool(device.index, pool)


def cpu_multiplies_bf16() -> bool:
    """Whether this machine's CPU has the AVX-512 BF16 instructions.

    Relies on `torch.cpu._is_avx512_bf16_supported`. `torch.cpu.get_capabilities` says the same in public, but torch 2.9
    does not have it yet.
    """
    return torch.cpu._is_avx512_bf16_supported()
