"""Automatic augmentation policies: for every image, operations drawn from a fixed set."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Change, Draw
from cifar_tune.data.augmentation.operations import OPERATIONS, SIGNED

BINS = 31
"""Magnitudes go from 0 to BINS - 1, which is the largest one of each operation."""


def randaugment(draw: Draw, num_ops: int, magnitude: int) -> Change:
    """Apply `num_ops` operations one after the other, all of the same magnitude.

    Cubuk et al., RandAugment: Practical Automated Data Augmentation with a Reduced Search Space (arXiv 1909.13719),
    with the operations and magnitudes of torchvision's transforms v2.
    """
    layers = [_draw_layer(draw, randaugment_largest(draw.size), magnitude) for _ in range(num_ops)]

    def apply(images: Tensor, batch: slice) -> Tensor:
        for layer in layers:
            images = layer.apply(images, batch)
        return images

    return apply


def trivialaugment(draw: Draw) -> Change:
    """Apply one operation of a random magnitude.

    Mueller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation (arXiv 2103.10158), the wide
    set, as in torchvision's transforms v2.
    """
    return _draw_layer(draw, TRIVIALAUGMENT_LARGEST, None).apply


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


@dataclass(frozen=True)
class _Layer:
    """One operation for every image of an epoch.

    The images of a batch are sorted by operation, and each operation sees its own alone. How many these are is drawn on
    the host, so that nothing waits for the device.

    Attributes:
        batch_size: images per batch.
        counts: for every batch, how many of its images each operation takes.
        sorting, restoring: int64 [N], places within the batch: in the order of operations, and back.
        magnitudes: float32 [N], in the order of operations.
    """

    batch_size: int
    counts: list[list[int]]
    sorting: Tensor
    restoring: Tensor
    magnitudes: Tensor

    def apply(self, images: Tensor, batch: slice) -> Tensor:
        """Change a batch; `batch` is its place in the epoch."""
        counts = self.counts[batch.start // self.batch_size]
        groups = _taken(images, self.sorting[batch]).split(counts)  # type: ignore[no-untyped-call]
        magnitudes = self.magnitudes[batch].split(counts)  # type: ignore[no-untyped-call]
        changed = [
            operation(group, magnitude).contiguous(memory_format=torch.channels_last)
            for operation, group, magnitude in zip(OPERATIONS.values(), groups, magnitudes, strict=True)
            if len(group)
        ]
        return _taken(torch.cat(changed), self.restoring[batch])


def _taken(images: Tensor, places: Tensor) -> Tensor:
    """Images in another order, channels_last."""
    return images.permute(0, 2, 3, 1).index_select(0, places).permute(0, 3, 1, 2)


def _draw_layer(draw: Draw, largest: Mapping[str, float], magnitude: int | None) -> _Layer:
    """Draw for an epoch, of this magnitude (0 to BINS - 1) or, if None, of random ones."""
    chosen = draw.host_integers(len(OPERATIONS)).reshape(-1, draw.epoch.batch_size)
    sorting = np.argsort(chosen, axis=1, kind="stable")
    device = draw.epoch.order.device
    sorted_operations = torch.from_numpy(np.take_along_axis(chosen, sorting, axis=1).reshape(-1)).to(device)

    signed = torch.tensor([name in SIGNED for name in OPERATIONS], device=device)[sorted_operations]
    scale = torch.tensor([largest[name] for name in OPERATIONS], device=device)[sorted_operations]
    sign = torch.where(signed, 1 - 2 * draw.integers(2), 1)
    bins = draw.integers(BINS) if magnitude is None else magnitude
    return _Layer(
        batch_size=draw.epoch.batch_size,
        counts=[np.bincount(batch, minlength=len(OPERATIONS)).tolist() for batch in chosen],
        sorting=torch.from_numpy(sorting.reshape(-1)).to(device),
        restoring=torch.from_numpy(np.argsort(sorting, axis=1).reshape(-1)).to(device),
        magnitudes=sign * scale * bins / (BINS - 1),
    )
