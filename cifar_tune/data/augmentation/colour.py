"""Augmentations of colour.

Images are float32 [B, 3, H, W] in [0, 1], and stay in it; parameters are float32 [B]. Factors are those of
torchvision's ColorJitter, drawn for every image, and so are the formulas.
"""

import torch
from torch import Tensor

from cifar_tune.data.augmentation.draw import Change, Draw, constants

# Brightness of red, green and blue (ITU-R BT.601).
_LUMA = (0.2989, 0.587, 0.114)
# Daylight that an image is taken to be balanced for, in kelvin.
_NEUTRAL = 6500.0
# Exponent by which screens turn values into light.
_GAMMA = 2.2


def brightness(draw: Draw, strength: float) -> Change:
    """Multiply values by a factor of 1 - strength to 1 + strength."""
    return Change(adjust_brightness, (draw.uniform(1 - strength, 1 + strength),))


def contrast(draw: Draw, strength: float) -> Change:
    """Multiply the distance from the image's mean grey by a factor of 1 - strength to 1 + strength."""
    return Change(adjust_contrast, (draw.uniform(1 - strength, 1 + strength),))


def saturation(draw: Draw, strength: float) -> Change:
    """Multiply the distance from the pixel's grey by a factor of 1 - strength to 1 + strength."""
    return Change(adjust_saturation, (draw.uniform(1 - strength, 1 + strength),))


def hue(draw: Draw, strength: float) -> Change:
    """Turn the colour circle by -strength to strength, in turns."""
    return Change(adjust_hue, (draw.uniform(-strength, strength),))


def color_temperature(draw: Draw, mired: float) -> Change:
    """Change the colour temperature of the light by -mired to mired (a million over kelvin); more is redder."""
    return Change(_multiplied, (temperature_gains(draw.uniform(-mired, mired)),))


def _multiplied(images: Tensor, gains: Tensor) -> Tensor:
    """Multiply each channel by its gain, of float32 [B, 3]."""
    return (images * gains[:, :, None, None]).clamp_(0, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply values."""
    return (images * _per_image(factor)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply distances from the image's mean grey."""
    return torch.lerp(_grey(images).mean(dim=(1, 2, 3), keepdim=True), images, _per_image(factor)).clamp_(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply distances from the pixel's grey."""
    return torch.lerp(_grey(images), images, _per_image(factor)).clamp_(0, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of the HSV model."""
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    divisor = torch.where(chroma > 0, chroma, 1)
    # In sixths of a turn, from red; whichever channel is the largest.
    sixths = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * turns[:, None, None]
    # A channel is the largest for a third of a turn, the smallest for a third, and linear in between; each of them a
    # third of a turn after the other.
    channels = []
    for offset in (5, 3, 1):
        place = (sixths + offset) % 6
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp_(0, 1))
    return torch.stack(channels, dim=-1).permute(0, 3, 1, 2)


def temperature_gains(mired: Tensor) -> Tensor:
    """Factors of red, green and blue that the light of a black body brings, next to one of 6500 kelvin.

    The places of black bodies in the CIE 1931 diagram are the cubic fit of Kang et al., Design of Advanced Color
    Temperature Control System for HDTV Applications (2002), good for 1667 to 25000 kelvin. The brightness of grey does
    not change.

    Args:
        mired: float32 [N], by how much a million over the temperature grows.

    Returns:
        float32 [N, 3].
    """
    light = _black_body(1e6 / (1e6 / _NEUTRAL + mired)) / _black_body(torch.full_like(mired, _NEUTRAL))
    gains = light.clamp(min=0) ** (1 / _GAMMA)
    return gains / (gains @ constants(_LUMA, gains.device))[:, None] * sum(_LUMA)


def _black_body(kelvin: Tensor) -> Tensor:
    """Its light in linear sRGB, at luminance 1: float32 [N, 3]."""
    inverse = 1e3 / kelvin
    x = torch.where(
        kelvin < 4000,
        ((-0.2661239 * inverse - 0.2343589) * inverse + 0.8776956) * inverse + 0.179910,
        ((-3.0258469 * inverse + 2.1070379) * inverse + 0.2226347) * inverse + 0.240390,
    )
    y = torch.where(
        kelvin < 4000,
        ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867,
        ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483,
    )
    xyz = torch.stack([x / y, torch.ones_like(x), (1 - x - y) / y], dim=1)
    # IEC 61966-2-1.
    to_srgb = constants((3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570), kelvin.device)
    return xyz @ to_srgb.view(3, 3).T


def _grey(images: Tensor) -> Tensor:
    """float32 [B, 1, H, W]."""
    red, green, blue = images.unbind(1)
    return (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2])[:, None]


def _per_image(factor: Tensor) -> Tensor:
    return factor[:, None, None, None]
