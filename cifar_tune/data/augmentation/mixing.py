"""Augmentations that mix each image, and its label, with another of its batch.

The other one is the image before it in the batch: an epoch has a random order, so that it is a random one, and never
the image itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Draw, Shares
from cifar_tune.data.augmentation.erasing import inside, rectangles


def mixup(draw: Draw, alpha: float) -> Shares:
    """Blend two images: lambda of the first, drawn from Beta(alpha, alpha) for every image; 0 blends nothing.

    Zhang et al., mixup: Beyond Empirical Risk Minimization (arXiv 1710.09412).
    """
    own, size = _own_share(draw, alpha), draw.size
    return lambda batch: own[batch, None, None].expand(-1, size, size)


def cutmix(draw: Draw, alpha: float) -> Shares:
    """Paste a rectangle of another image, of 1 - lambda of the area, lambda drawn as in mixup; 0 pastes nothing.

    Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers (arXiv 1905.04899). The
    rectangle's middle is anywhere in the image; what lies outside is cut off and does not count in the label.
    """
    side = (draw.size * (1 - _own_share(draw, alpha)).sqrt()).int()
    top, left = (draw.integers(draw.size) - side // 2 for _ in range(2))
    pasted = rectangles(top, left, top + side, left + side)
    return lambda batch: 1 - inside(pasted[batch], draw.size).float()


def one_of(choice: Tensor, mixers: Sequence[Shares]) -> Shares:
    """Where several are asked for: each image is mixed by one of them, drawn with equal probability.

    timm's Mixup does so in its mode `elem`; its default mode, and torchvision's reference training, draw one mixer (and
    one share) for a whole batch.

    Args:
        choice: int32 [N], which one.
        mixers: at least one.
    """

    def shares(batch: slice) -> Tensor:
        chosen = choice[batch, None, None]
        own = mixers[0](batch)
        for number, mixer in enumerate(mixers[1:], start=1):
            own = torch.where(chosen == number, mixer(batch), own)
        return own

    return shares


def mix(images: Tensor, labels: Tensor, shares: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mix each image of a batch with the one before it.

    Args:
        images: float32 [B, 3, H, W].
        labels: int64 [B].
        shares: float32 [B, H, W], how much of every pixel stays the image's own.
        classes: how many classes there are.

    Returns:
        Mixed images, and float32 [B, classes], the share of each class in each image: that of its pixels.
    """
    mixed = torch.lerp(_others(images), images, shares[:, None])
    targets = (labels[:, None] == torch.arange(classes, device=labels.device)).float()
    return mixed, torch.lerp(_others(targets), targets, shares.mean(dim=(1, 2))[:, None])


def _others(batch: Tensor) -> Tensor:
    # Not `roll`, which gives up the channels_last format on some devices.
    return torch.cat([batch[-1:], batch[:-1]])


def _own_share(draw: Draw, alpha: float) -> Tensor:
    """float32 [N]."""
    return draw.beta(alpha) if alpha > 0 else draw.uniform(1, 1)
