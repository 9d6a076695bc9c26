"""Batches: the images of an epoch in a drawn order, or of the validation split in their own."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cifar_tune.data.augmentation.coordinates import gather
from cifar_tune.data.augmentation.draw import Epoch
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.data.normalization import normalization
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.configuration import Configuration

EVALUATION_BATCH = 500
"""Images per batch where no gradients are kept: large enough to fill the device, and the same for every
configuration."""


def steps_per_epoch(train_size: int, batch_size: int) -> int:
    """Batches in an epoch: the incomplete last one is dropped, but one there always is."""
    return max(1, train_size // batch_size)


def training_batches(data: ResidentData, config: Configuration, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch.

    Order and augmentation depend on (`seed`, `epoch`) alone, so an epoch can be repeated without those before it.
    Everything random but noise is drawn here, before the first batch; no batch waits for the device.

    Yields:
        Images, float32 [B, 3, H, W] in channels_last memory format, and labels, int64 [B], or, where
        an augmentation mixes images, the share of each class in each of them, float32 [B, classes]. All batches have
        `batch_size` images; a split smaller than that is one batch.
    """
    batch_size = min(config.integer("batch_size"), data.train_size)
    count = steps_per_epoch(data.train_size, batch_size) * batch_size
    generator = torch.Generator(data.device).manual_seed(derive_seed("order", config.integer("seed"), epoch))
    order = torch.randperm(data.train_size, generator=generator, device=data.device)[:count]
    indices = data.train_indices[order]
    labels = data.labels[indices]
    drawn_for = Epoch(epoch, order, data.train_size, batch_size, data.image_shape[1])
    augmentation = draw_augmentation(config, drawn_for, data.device)
    normalize = normalization(config, data)
    for start in range(0, count, batch_size):
        batch = slice(start, start + batch_size)
        images = augmentation.images(data.images, indices[batch], batch, normalize)
        yield augmentation.mixed(images, labels[batch], batch, len(data.classes))


def validation_batches(
    data: ResidentData, config: Configuration, batch_size: int = EVALUATION_BATCH
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the validation split in its own order, all of it: the last batch may be smaller.

    Yields:
        Images, float32 [B, 3, H, W] in channels_last memory format, and labels, int64 [B].
    """
    normalize = normalization(config, data)
    for start in range(0, data.val_size, batch_size):
        indices = data.val_indices[start : start + batch_size]
        yield normalize.apply(gather(data.images, indices)), data.labels[indices]


def other_batches(
    images: Tensor, labels: Tensor, data: ResidentData, config: Configuration, batch_size: int = EVALUATION_BATCH
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images that are not part of `data`, in their own order, normalized as the training images of `data` are.

    Args:
        images: uint8 [N, H, W, 3], on the device of `data`.
        labels: int64 [N], there too.
        data: what was trained on.
        config: names the normalization.
        batch_size: of all batches but the last.

    Yields:
        Images, float32 [B, 3, H, W] in channels_last memory format, and labels, int64 [B].
    """
    normalize = normalization(config, data)
    for start in range(0, len(labels), batch_size):
        batch = slice(start, start + batch_size)
        yield normalize.apply(images[batch]), labels[batch]


def training_sample(data: ResidentData, config: Configuration, size: int) -> Tensor:
    """Draw training images, the same for the same `seed` on every device.

    Args:
        data: where they are.
        config: holds the seed and the normalization.
        size: how many; all of them where there are not so many.

    Returns:
        float32 [size, 3, H, W] on the CPU, normalised but not augmented.
    """
    generator = torch.Generator().manual_seed(derive_seed("sample", config.integer("seed")))
    chosen = torch.randperm(data.train_size, generator=generator)[:size]
    indices = data.train_indices[chosen.to(data.device)]
    return normalization(config, data).apply(gather(data.images, indices)).cpu()
