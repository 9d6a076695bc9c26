"""From bytes to inputs: a scale and a shift per channel."""

from dataclasses import dataclass

import torch
from torch import Tensor

_LARGEST_BYTE = 255.0


@dataclass(frozen=True)
class Normalization:
    """byte * scale + shift, per channel.

    Attributes:
        scale, shift: float32 [3].
    """

    scale: Tensor
    shift: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            images: uint8 [B, H, W, 3], contiguous.

        Returns:
            float32 [B, 3, H, W] in channels_last memory format.
        """
        batch, height, width, channels = images.shape
        # Whole rows of pixels at a time: an inner dimension of 3 would run at two thirds of the speed on a CPU.
        rows = images.view(batch, height, width * channels).float()
        normalized = torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width))
        return normalized.view(batch, height, width, channels).permute(0, 3, 1, 2)


def normalization(name: str, mean: Tensor, std: Tensor) -> Normalization:
    """The normalization of this name (`cifar_tune.knobs.table.NORMALIZATIONS`).

    Args:
        name: value of the knob `normalization`.
        mean: float32 [3], of the training images, in units of bytes; only `standardize` uses it.
        std: likewise, their standard deviation.
    """
    one, zero = torch.ones_like(mean), torch.zeros_like(mean)
    match name:
        case "standardize":
            # A channel that never changes carries nothing: it becomes zero instead of dividing by zero.
            scale = torch.where(std > 0, one / std, zero)
            return Normalization(scale, -mean * scale)
        case "zero_one":
            return Normalization(one / _LARGEST_BYTE, zero)
        case "minus_one_one":
            return Normalization(2 * one / _LARGEST_BYTE, -one)
        case "none":
            return Normalization(one, zero)
        case _:
            raise KeyError(name)
