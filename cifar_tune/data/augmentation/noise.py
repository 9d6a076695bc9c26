"""Noise."""

from torch import Tensor

from cifar_tune.data.augmentation.draw import Change, Draw


def gaussian_noise(draw: Draw, std: float) -> Change:
    """Add normal noise of this deviation, where 1 is white, to every value by itself; cut off what leaves [0, 1]."""

    # Drawn batch by batch, since the noise of an epoch would take as much memory as its images. The order is the same.
    def add(images: Tensor) -> Tensor:
        count, channels, height, width = images.shape
        noise = draw.normal(count, height, width, channels).permute(0, 3, 1, 2)
        return images.add(noise, alpha=std).clamp_(0, 1)

    return Change(add)
