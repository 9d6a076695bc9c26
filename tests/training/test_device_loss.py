"""Errors of a GPU that a process does not survive."""

import pytest
import torch

from cifar_tune.training.failures import is_device_lost


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."), True),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("HIP error: unspecified launch failure"), True),
        (torch.AcceleratorError("CUDA error: misaligned address"), True),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: invalid argument"), False),
        (RuntimeError("an illegal memory access was encountered"), False),
        (ValueError("CUDA error: misaligned address"), False),
    ],
    ids=str,
)
def test_which_errors_leave_the_device_unusable(error: Exception, lost: bool) -> None:
    assert is_device_lost(error) is lost
