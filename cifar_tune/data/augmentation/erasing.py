"""Augmentations that erase a part of each image: it becomes zero, after normalisation."""

import math

import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Change, Draw

_SMALLEST_AREA = 0.02
_NARROWEST = 0.3


def cutout(draw: Draw, length: int) -> Change:
    """Erase a square whose middle is anywhere in the image, so that a part of it may lie outside.

    DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout (arXiv 1708.04552).

    Args:
        draw: the epoch's.
        length: of the square's sides, in pixels; 0 erases nothing.
    """
    top, left = (draw.integers(draw.size) - length // 2 for _ in range(2))
    return Change(erase, (rectangles(top, left, top + length, left + length),))


def random_erasing(draw: Draw, probability: float, max_area: float) -> Change:
    """Erase a rectangle that lies in the image, with some probability.

    Zhong et al., Random Erasing Data Augmentation (arXiv 1708.04896). Its area is drawn from 0.02 to `max_area` of the
    image's, its aspect ratio from 0.3 to 1/0.3 on a logarithmic scale: as theirs, but large ones only from those ratios
    with which they lie in the image, instead of drawing again.
    """
    area = draw.uniform(_SMALLEST_AREA, max_area)
    flattest = (-area.log()).clamp(max=-math.log(_NARROWEST))
    ratio = (draw.uniform(-1, 1) * flattest).exp()
    height, width = ((draw.size * (area * by).sqrt()).round().int() for by in (ratio, 1 / ratio))
    top, left = ((draw.uniform(0, 1) * (draw.size - side + 1)).int() for side in (height, width))
    erased = rectangles(top, left, top + height, left + width)
    erased = erased * (draw.uniform(0, 1) < probability)[:, None]
    return Change(erase, (erased,))


def erase(images: Tensor, edges: Tensor) -> Tensor:
    """Images with a rectangle of each, one of `rectangles`, set to zero."""
    # `masked_fill` would give up the channels_last format.
    return torch.where(inside(edges, images.shape[-1])[:, None], images.new_zeros(()), images)


def rectangles(top: Tensor, left: Tensor, bottom: Tensor, right: Tensor) -> Tensor:
    """Edges, int32 [N] each, as [N, 4]; bottom and right are the first row and column outside."""
    return torch.stack([top, left, bottom, right], dim=1)


def inside(edges: Tensor, size: int) -> Tensor:
    """Which pixels lie in the rectangles.

    Args:
        edges: int32 [B, 4], of `rectangles`.
        size: of the images, in pixels.

    Returns:
        bool [B, size, size].
    """
    places = torch.arange(size, dtype=torch.int32, device=edges.device)
    top, left, bottom, right = (edge[:, None] for edge in edges.unbind(1))
    rows = (places >= top) & (places < bottom)
    cols = (places >= left) & (places < right)
    return rows[:, :, None] & cols[:, None, :]
