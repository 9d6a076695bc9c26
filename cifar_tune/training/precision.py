"""The arithmetic of the forward and backward pass: float32, or bfloat16 autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.torch_internals import cpu_multiplies_bf16

FP32 = "fp32"
BF16 = "bf16"
FIRST_CUDA_WITH_BF16 = (8, 0)
"""Compute capability (Ampere)."""


def resolve_precision(config: Configuration, device: torch.device) -> str:
    """Return `fp32` or `bf16`: what the configuration says, and for `auto`, bf16 where the device multiplies it.

    On the CPU that means the AVX-512 BF16 instructions, which every CPU with AMX has too. Without them every product is
    converted to float32 and back, which costs time instead of saving it. Images/s of forward, backward and step in
    bf16 over fp32, measured on an AMD Zen 4 (AVX-512 BF16, no AMX) with one and two threads, and with AMX: tutorial_net
    1.3, 1.3, 1.1; cnn3 2.1, 2.3, 2.4; resnet18 of width 16 1.6, 1.7, 2.3.
    """
    chosen = config.text("precision")
    if chosen != "auto":
        return chosen
    return BF16 if _multiplies_bf16(device) else FP32


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of the forward pass; weights stay float32, and so must the loss, which belongs outside."""
    if precision == BF16:
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _multiplies_bf16(device: torch.device) -> bool:
    match device.type:
        case "cpu":
            return cpu_multiplies_bf16()
        case "cuda":
            return torch.version.hip is not None or (torch.cuda.get_device_capability(device) >= FIRST_CUDA_WITH_BF16)
        case _:
            return False
