"""From bytes to inputs: a scale and a shift per channel."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.normalizations import NORMALIZATIONS

_LARGEST_BYTE = 255.0

_ADDS_BYTES = frozenset({"cpu", "cuda"})
"""Devices on which `addcmul` turns bytes into floats by itself. On MPS it is not known to."""


@dataclass(frozen=True)
class Normalization:
    """byte * scale + shift, per channel.

    Attributes:
        scale, shift: float32 [3].
    """

    scale: Tensor
    shift: Tensor
    _rows: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def apply(self, images: Tensor) -> Tensor:
        """Normalise a batch.

        Args:
            images: [B, H, W, 3], contiguous, in units of bytes: uint8, or float32 where their values were changed.

        Returns:
            float32 [B, 3, H, W] in channels_last memory format.
        """
        batch, height, width, channels = images.shape
        # Whole rows of pixels at a time: an inner dimension of 3 would run at two thirds of the speed on a CPU.
        rows = images.view(batch, height, width * channels)
        if width not in self._rows:
            self._rows[width] = self.scale.repeat(width), self.shift.repeat(width)
        scale, shift = self._rows[width]
        if images.device.type not in _ADDS_BYTES:
            rows = rows.float()
        normalized = torch.addcmul(shift, rows, scale)
        return normalized.view(batch, height, width, channels).permute(0, 3, 1, 2)


def normalization(config: Configuration, data: ResidentData) -> Normalization:
    """The normalization of `config`: the same for training and for all other images."""
    part = NORMALIZATIONS[config.text("normalization")]
    made: Normalization = part.resolve()(data, config.integer("seed"), **part.arguments_from(config))
    return made


def standardize(data: ResidentData, seed: int, sample: float) -> Normalization:
    """Mean 0 and deviation 1 in every channel, over a share of the training images (`ResidentData.statistics`)."""
    return standardization(*data.statistics(sample, seed))


def standardization(mean: Tensor, std: Tensor) -> Normalization:
    """From mean and deviation, float32 [3], in units of bytes."""
    # A channel that never changes carries nothing: it becomes zero instead of dividing by zero.
    scale = torch.where(std > 0, 1 / std, torch.zeros_like(std))
    return Normalization(scale, -mean * scale)


def zero_one(data: ResidentData, _seed: int) -> Normalization:
    """Bytes to [0, 1]."""
    return _constant(data, 1 / _LARGEST_BYTE, 0)


def minus_one_one(data: ResidentData, _seed: int) -> Normalization:
    """Bytes to [-1, 1]."""
    return _constant(data, 2 / _LARGEST_BYTE, -1)


def as_they_are(data: ResidentData, _seed: int) -> Normalization:
    """Bytes as floats."""
    return _constant(data, 1, 0)


def _constant(data: ResidentData, scale: float, shift: float) -> Normalization:
    return Normalization(*(torch.full((3,), float(value), device=data.device) for value in (scale, shift)))
