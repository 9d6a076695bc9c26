"""A few training images to look at before the training."""

import torch
from torch import Tensor

from cifar_tune.data.augmentation.coordinates import gather
from cifar_tune.data.normalization import normalization
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.configuration import Configuration


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
