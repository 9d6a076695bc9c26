"""Augmentations that turn and scale: one resampling for all of them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from cifar_tune.data.augmentation.draw import Draw, Places


@dataclass(frozen=True)
class AffineMap:
    """Where the pixels of each image come from: a linear map of their places, seen from the middle of the image.

    Attributes:
        matrix: float32 [N, 2, 2], from places (x, y) in the result to places in the image.
    """

    matrix: Tensor

    def __getitem__(self, images: Places) -> "AffineMap":
        """The map of these images only."""
        return AffineMap(self.matrix[images])

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What was drawn for the images."""
        return (self.matrix,)

    def then(self, later: "AffineMap") -> "AffineMap":
        """One map that does this and then the later one."""
        return AffineMap(self.matrix @ later.matrix)

    def apply(self, images: Tensor) -> Tensor:
        """Resample a batch bilinearly; what comes from outside an image is zero."""
        return resample(images, F.pad(self.matrix, (0, 1)), "bilinear")


def rotation(draw: Draw, degrees: float) -> AffineMap:
    """Turn about the middle by an angle of -degrees to degrees, uniformly drawn."""
    return AffineMap(turned(torch.deg2rad(draw.uniform(-degrees, degrees))))


def scale(draw: Draw, scale_range: float) -> AffineMap:
    """Enlarge or shrink about the middle by a factor of 1 - scale_range to 1 + scale_range, uniformly drawn."""
    shrunk = 1 / draw.uniform(1 - scale_range, 1 + scale_range)
    return AffineMap(torch.diag_embed(torch.stack([shrunk, shrunk], dim=1)))


def turned(angle: Tensor) -> Tensor:
    """The matrix that turns an image counterclockwise.

    Args:
        angle: float32 [N], in radians.

    Returns:
        float32 [N, 2, 2].
    """
    sine, cosine = angle.sin(), angle.cos()
    return torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)


def resample(images: Tensor, matrix: Tensor, interpolation: str) -> Tensor:
    """Move pixels by an affine map.

    Args:
        images: float32 [B, C, S, S].
        matrix: float32 [B, 2, 3], from places (x, y, 1) in the result to places in the image; -1 and 1 are the outer
            edges of the image.
        interpolation: `bilinear` or `nearest`.

    Returns:
        Like images, channels_last; zero where a pixel comes from outside.
    """
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)
