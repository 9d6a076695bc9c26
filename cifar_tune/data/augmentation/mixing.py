"""Augmentations that mix each image, and its label, with another of its batch.

The other one is the image before it in the batch: an epoch has a random order, so that it is a random one, and never
the image itself.
"""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Draw, PlainShares, Shares
from cifar_tune.data.augmentation.erasing import inside, rectangles


def mixup(draw: Draw, alpha: float) -> Shares:
    """Blend two images: lambda of the first, drawn from Beta(alpha, alpha) for every image; 0 blends nothing.

    Zhang et al., mixup: Beyond Empirical Risk Minimization (arXiv 1710.09412).
    """
    size = draw.size
    return Shares(lambda own: own[:, None, None].expand(-1, size, size), (_own_share(draw, alpha),))


def cutmix(draw: Draw, alpha: float) -> Shares:
    """Paste a rectangle of another image, of 1 - lambda of the area, lambda drawn as in mixup; 0 pastes nothing.

    Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers (arXiv 1905.04899). The
    rectangle's middle is anywhere in the image; what lies outside is cut off and does not count in the label.
    """
    side = (draw.size * (1 - _own_share(draw, alpha)).sqrt()).int()
    top, left = (draw.integers(draw.size) - side // 2 for _ in range(2))
    pasted = rectangles(top, left, top + side, left + side)
    size = draw.size
    return Shares(lambda edges: 1 - inside(edges, size).float(), (pasted,))


def one_of(choice: Tensor, mixers: Sequence[Shares | PlainShares]) -> Shares | PlainShares:
    """Where several are asked for: each image is mixed by one of them, drawn with equal probability.

    timm's Mixup does so in its mode `elem`; its default mode, and torchvision's reference training, draw one mixer (and
    one share) for a whole batch.

    Args:
        choice: int32 [N], which one.
        mixers: at least one.
    """
    drawn = [mixer for mixer in mixers if isinstance(mixer, Shares)]
    if len(drawn) < len(mixers):
        return lambda batch: _chosen(choice[batch], [mixer(batch) for mixer in mixers])

    def shares(chosen: Tensor, *parameters: Tensor) -> Tensor:
        remaining = iter(parameters)
        return _chosen(chosen, [each.function(*islice(remaining, len(each.parameters))) for each in drawn])

    return Shares(shares, (choice, *(parameter for each in drawn for parameter in each.parameters)))


def _chosen(choice: Tensor, shares: Sequence[Tensor]) -> Tensor:
    """Of each image of a batch the shares that it chose, int32 [B]."""
    own = shares[0]
    for number, others in enumerate(shares[1:], start=1):
        own = torch.where(choice[:, None, None] == number, others, own)
    return own


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
