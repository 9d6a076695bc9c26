"""Automatic augmentation policies: for every image, operations drawn from a fixed set."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Change, Draw, constants
from cifar_tune.data.augmentation.operations import OPERATIONS, SIGNED

BINS = 31
"""Magnitudes go from 0 to BINS - 1, which is the largest one of each operation."""


def randaugment(draw: Draw, num_ops: int, magnitude: int) -> Change:
    """Apply `num_ops` operations one after the other, all of the same magnitude.

    Cubuk et al., RandAugment: Practical Automated Data Augmentation with a Reduced Search Space (arXiv 1909.13719),
    with the operations and magnitudes of torchvision's transforms v2.
    """
    layers = [_draw_layer(draw, randaugment_largest(draw.size), magnitude) for _ in range(num_ops)]

    def apply(images: Tensor, *parameters: Tensor) -> Tensor:
        for slots, magnitudes in zip(parameters[::2], parameters[1::2], strict=True):
            images = _apply_layer(images, slots, magnitudes)
        return images

    return Change(apply, tuple(parameter for layer in layers for parameter in layer))


def trivialaugment(draw: Draw) -> Change:
    """Apply one operation of a random magnitude.

    Mueller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation (arXiv 2103.10158), the wide
    set, as in torchvision's transforms v2.
    """
    return Change(_apply_layer, _draw_layer(draw, TRIVIALAUGMENT_LARGEST, None))


def randaugment_largest(size: int) -> Mapping[str, float]:
    """The largest magnitudes of RandAugment on images of this many pixels."""
    translation = 150 / 331 * size
    return {
        **dict.fromkeys(OPERATIONS, 0.0),
        **dict.fromkeys(("shear_x", "shear_y"), 0.3),
        **dict.fromkeys(("translate_x", "translate_y"), translation),
        "rotate": 30.0,
        **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), 0.9),
        "posterize": 4.0,
        "solarize": 1.0,
    }


TRIVIALAUGMENT_LARGEST: Mapping[str, float] = {
    **dict.fromkeys(OPERATIONS, 0.0),
    **dict.fromkeys(("shear_x", "shear_y"), 0.99),
    **dict.fromkeys(("translate_x", "translate_y"), 32.0),
    "rotate": 135.0,
    **dict.fromkeys(("brightness", "color", "contrast", "sharpness"), 0.99),
    "posterize": 6.0,
    "solarize": 1.0,
}


def _draw_layer(draw: Draw, largest: Mapping[str, float], magnitude: int | None) -> tuple[Tensor, Tensor]:
    """Draw one operation for every image of an epoch.

    Every operation has the same number of slots in each batch, the fewest that hold it, and each image takes one at
    random. So every operation is as likely as any other for each image, the batches of an epoch and the operations in
    them always have the same shapes, and the host need not know what was drawn. Within a batch no operation comes more
    often than it has slots.

    Args:
        draw: the epoch's.
        largest: magnitude of each operation.
        magnitude: 0 to BINS - 1; None: a random one for each image.

    Returns:
        The slot of every image in its batch, int64 [count], and the magnitude of its operation, float32 [count].
    """
    size, device = draw.epoch.batch_size, draw.epoch.order.device
    slots = draw.order(_slots_each(size) * len(OPERATIONS))[:, :size].reshape(-1)
    chosen = slots.div(_slots_each(size), rounding_mode="floor")
    signed = constants([name in SIGNED for name in OPERATIONS], device)[chosen]
    scale = constants([largest[name] for name in OPERATIONS], device)[chosen]
    sign = 1 - 2 * signed * draw.integers(2)
    bins = draw.integers(BINS) if magnitude is None else magnitude
    return slots, sign * scale * bins / (BINS - 1)


def _slots_each(batch_size: int) -> int:
    """The fewest slots of each operation in which all images of a batch find a place."""
    return math.ceil(batch_size / len(OPERATIONS))


def _apply_layer(images: Tensor, slots: Tensor, magnitudes: Tensor) -> Tensor:
    """Change a whole batch: each operation sees the images in its slots; in empty ones it sees the first image."""
    each = _slots_each(len(images))
    seated = _seated(slots, each * len(OPERATIONS))
    groups = _taken(images, seated).split(each)  # type: ignore[no-untyped-call]
    amounts = magnitudes[seated].split(each)  # type: ignore[no-untyped-call]
    changed = [
        operation(group, amount).contiguous(memory_format=torch.channels_last)
        for operation, group, amount in zip(OPERATIONS.values(), groups, amounts, strict=True)
    ]
    return _taken(torch.cat(changed), slots)


def _seated(slots: Tensor, count: int) -> Tensor:
    """Which image sits in each of `count` slots, int64 [count]; in empty ones it is the first image.

    Not by `scatter_`: where algorithms must be repeatable, some versions of torch read the largest index on the host.

    Args:
        slots: of every image, int64 [B], no two of them the same.
        count: of slots.
    """
    taken, images = slots.sort()
    wanted = torch.arange(count, device=slots.device)
    found = torch.searchsorted(taken, wanted).clamp_(max=len(taken) - 1)
    return images[found] * (taken[found] == wanted)


def _taken(images: Tensor, places: Tensor) -> Tensor:
    """Images in another order, channels_last."""
    return images.permute(0, 2, 3, 1).index_select(0, places).permute(0, 3, 1, 2)
