"""The operations that automatic augmentation policies choose from, with a magnitude for every image.

Images are float32 [B, 3, H, W] in [0, 1], and stay in it; magnitudes are float32 [B]. What an operation does is what
torchvision's transforms v2 do for its policies, which give a whole batch one magnitude; pixels that move take the
nearest one's value, as there by default.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor
from torchvision.transforms.v2.functional import equalize

from cifar_tune.data.augmentation.affine import resample, turned
from cifar_tune.data.augmentation.colour import adjust_brightness, adjust_contrast, adjust_saturation

Operation = Callable[[Tensor, Tensor], Tensor]


def _moved(images: Tensor, xx: Tensor, xy: Tensor, x: Tensor, yx: Tensor, yy: Tensor, y: Tensor) -> Tensor:
    """The pixel (column, row) comes from (xx * column + xy * row + x, yx * column + yy * row + y), -1 to 1."""
    matrix = torch.stack([xx, xy, x, yx, yy, y], dim=1).view(-1, 2, 3)
    return resample(images, matrix, "nearest")


def shear_x(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move each row sideways by its distance from the top, times the magnitude."""
    one, zero = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, one, magnitude, magnitude, zero, one, zero)


def shear_y(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move each column up or down by its distance from the left, times the magnitude."""
    one, zero = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, one, zero, zero, magnitude, one, magnitude)


def translate_x(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move to the right, in whole pixels."""
    one, zero = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, one, zero, -2 * magnitude.trunc() / images.shape[3], zero, one, zero)


def translate_y(images: Tensor, magnitude: Tensor) -> Tensor:
    """Move down, in whole pixels."""
    one, zero = torch.ones_like(magnitude), torch.zeros_like(magnitude)
    return _moved(images, one, zero, zero, zero, one, -2 * magnitude.trunc() / images.shape[2])


def rotate(images: Tensor, magnitude: Tensor) -> Tensor:
    """Turn counterclockwise about the middle, in degrees."""
    return resample(images, F.pad(turned(torch.deg2rad(magnitude)), (0, 1)), "nearest")


def sharpen(images: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply the distance from the blurred image by 1 + magnitude; border pixels stay."""
    channels = images.shape[1]
    kernel = images.new_ones(3, 3)
    kernel[1, 1].fill_(5)  # an assignment would copy the number from the host, and wait for it
    kernel = (kernel / kernel.sum()).expand(channels, 1, 3, 3)
    blurred = images.clone()
    blurred[:, :, 1:-1, 1:-1] = F.conv2d(images, kernel, groups=channels)
    return torch.lerp(blurred, images, 1 + magnitude[:, None, None, None]).clamp_(0, 1)


def posterize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Keep 8 bits less the magnitude, rounded."""
    levels = torch.exp2((8 - magnitude).round())[:, None, None, None]
    return torch.minimum((images * levels).floor(), levels - 1) / levels


def solarize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Invert what is at least 1 - magnitude."""
    return torch.where(images >= (1 - magnitude)[:, None, None, None], 1 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch the values of each channel to [0, 1]; a channel of one value stays as it is.

    As torchvision's, which assigns numbers of the host where a channel has one value.
    """
    lowest, highest = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    is_flat = highest == lowest
    lowest, extent = lowest.masked_fill(is_flat, 0.0), (highest - lowest).masked_fill(is_flat, 1.0)
    return (images - lowest).div_(extent).clamp_(0, 1)


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda images, _: images,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
    "brightness": lambda images, magnitude: adjust_brightness(images, 1 + magnitude),
    "color": lambda images, magnitude: adjust_saturation(images, 1 + magnitude),
    "contrast": lambda images, magnitude: adjust_contrast(images, 1 + magnitude),
    "sharpness": sharpen,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": lambda images, _: autocontrast(images),
    "equalize": lambda images, _: equalize(images),
}

SIGNED = frozenset(OPERATIONS) - {"identity", "posterize", "solarize", "autocontrast", "equalize"}
"""Operations whose magnitude is negative in half of the cases."""
