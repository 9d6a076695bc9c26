"""Weights out of a safetensors file of others: they are numbers, and of the kind that the network has."""

from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

MOST_BYTES = 16 * 2**30
"""Of a file with weights."""


def parse_weights(content: bytes) -> dict[str, Tensor]:
    """The tensors in a safetensors file.

    Raises:
        ValueError: it is no such file, has tensors of a type that torch does not have, or holds numbers that are not
            finite. The message is the rest of a sentence on the file.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except SafetensorError as error:
        raise ValueError("is not a safetensors file, or is damaged") from error
    except KeyError as error:  # a type that the file may name and torch does not have
        raise ValueError(f"has tensors of the type {error.args[0]}, which torch cannot load") from error
    for name, tensor in tensors.items():
        numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        if numbers.is_floating_point() and not numbers.float().isfinite().all():
            raise ValueError(f"holds numbers that are not finite ({name}): the training that wrote it diverged")
    return tensors


def of_another_kind(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], exactly: bool) -> list[str]:
    """The names of weights whose numbers cannot stand for those of the network.

    Args:
        own: of the network.
        weights: of the file; only names that `own` has are compared.
        exactly: whether each type must be the same; else floats of any size are as good as others, and whole
            numbers too.
    """

    def differs(one: Tensor, other: Tensor) -> bool:
        if exactly:
            return one.dtype != other.dtype
        return (one.is_floating_point(), one.is_complex()) != (other.is_floating_point(), other.is_complex())

    return [name for name in own if name in weights and differs(own[name], weights[name])]
