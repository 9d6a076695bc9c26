import colorsys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as torchvision_functional

from cifar_tune.data.augmentation.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    brightness,
    color_temperature,
    contrast,
    hue,
    saturation,
    temperature_gains,
)
from cifar_tune.data.augmentation.noise import gaussian_noise
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.knobs.configuration import complete

from .draws import CPU, drawing, epoch_of, pixels

WHOLE = slice(0, None)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (adjust_brightness, torchvision_functional.adjust_brightness, 0, 2),
        (adjust_contrast, torchvision_functional.adjust_contrast, 0, 2),
        (adjust_saturation, torchvision_functional.adjust_saturation, 0, 2),
        (adjust_hue, torchvision_functional.adjust_hue, -0.5, 0.5),
    ],
)
def test_colours_against_torchvision(
    ours: Callable[[Tensor, Tensor], Tensor], theirs: Callable[[Tensor, float], Tensor], low: float, high: float
) -> None:
    images = pixels(24)
    amounts = torch.linspace(low, high, 24)
    got = ours(images, amounts)
    assert got.is_contiguous(memory_format=torch.channels_last)
    for position, amount in enumerate(amounts.tolist()):
        torch.testing.assert_close(got[position], theirs(images[position], amount), atol=2e-5, rtol=0)


def test_hue_against_the_standard_library() -> None:
    colours = torch.rand(50, 3)
    turns = torch.rand(50) - 0.5
    got = adjust_hue(colours.view(50, 3, 1, 1), turns).view(50, 3)
    for (red, green, blue), turn, shown in zip(colours.tolist(), turns.tolist(), got.tolist(), strict=True):
        h, s, v = colorsys.rgb_to_hsv(red, green, blue)
        assert shown == pytest.approx(colorsys.hsv_to_rgb((h + turn) % 1, s, v), abs=1e-5)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_strength_is_the_largest_change(name: str) -> None:
    augmentation = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}[name]
    adjust = {
        "brightness": adjust_brightness,
        "contrast": adjust_contrast,
        "saturation": adjust_saturation,
        "hue": adjust_hue,
    }[name]
    images = 0.25 + pixels(1).expand(4000, 3, 32, 32)[:, :, :4, :4] / 2
    strength = 0.2
    got = augmentation(drawing(4000), strength)(images, WHOLE)
    middle = 0.0 if name == "hue" else 1.0
    ends = [adjust(images[:1], torch.tensor([middle + end])) for end in (-strength, strength)]
    nearest = [(got - end).abs().amax((1, 2, 3)).min() for end in ends]
    assert max(nearest) < 1e-3
    inside = adjust(images[:1], torch.tensor([middle]))
    widest = max((end - inside).abs().max() for end in ends)
    assert (got - inside).abs().max() <= widest + 1e-5


def test_every_strength_comes_from_the_configuration() -> None:
    for name in ("brightness", "contrast", "saturation", "hue", "color_temperature"):
        images = pixels(64, size=8)
        changes = [
            (change(images, WHOLE) - images).abs().mean()
            for strength in (0.1, 0.4)
            for change in draw_augmentation(
                complete({"augment": (name,), name: strength}), epoch_of(64, size=8), CPU
            ).pixels
        ]
        assert len(changes) == 2
        assert 0 < changes[0] < changes[1]


@pytest.mark.parametrize(
    ("kelvin", "x", "y"),
    [(2856, 0.4476, 0.4074), (5000, 0.3451, 0.3516), (6500, 0.3135, 0.3237), (10000, 0.2807, 0.2884)],
)
def test_colour_temperatures_are_those_of_black_bodies(kelvin: float, x: float, y: float) -> None:
    """Places in the CIE 1931 diagram from tables; the gains are what a grey of 6500 K takes to them."""

    def linear(x: float, y: float) -> Tensor:
        xyz = torch.tensor([x / y, 1, (1 - x - y) / y])
        to_xyz = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        light: Tensor = torch.linalg.solve(to_xyz, xyz)
        return light

    expected = (linear(x, y) / linear(0.3135, 0.3237)) ** (1 / 2.2)
    [got] = temperature_gains(torch.tensor([1e6 / kelvin - 1e6 / 6500]))
    torch.testing.assert_close(got / got[1], expected / expected[1], atol=0.02, rtol=0)


def test_more_mired_is_redder_and_grey_keeps_its_brightness() -> None:
    gains = temperature_gains(torch.linspace(-100, 100, 21))
    assert (gains[:, 0].diff() > 0).all()
    assert (gains[:, 2].diff() < 0).all()
    torch.testing.assert_close(gains @ torch.tensor([0.2989, 0.587, 0.114]), torch.full((21,), 0.9999))
    torch.testing.assert_close(gains[10], torch.ones(3))


def test_color_temperature_multiplies_channels() -> None:
    images = pixels(8) / 2
    got = color_temperature(drawing(8), 80)(images[2:6], slice(2, 6))
    whole = color_temperature(drawing(8), 80)(images, WHOLE)
    assert torch.equal(got, whole[2:6])
    gains = whole[3:].mean((2, 3)) / images[3:].mean((2, 3))
    torch.testing.assert_close(whole[3:], images[3:] * gains[:, :, None, None])


def test_noise_has_the_deviation_asked_for_and_stays_in_range() -> None:
    config = complete({"augment": ("gaussian_noise",), "noise_std": 0.1})
    [change] = draw_augmentation(config, epoch_of(64), CPU).pixels
    grey = torch.full((64, 3, 32, 32), 0.5).to(memory_format=torch.channels_last)
    noise = change(grey, WHOLE) - grey
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert float((noise[:, 0] * noise[:, 1]).mean()) == pytest.approx(0, abs=2e-4)  # channels have noise of their own
    white = change(torch.ones(64, 3, 32, 32), WHOLE)
    assert white.max() == 1
    assert white.min() < 0.9


def test_noise_of_one_batch_is_not_that_of_the_next() -> None:
    change = gaussian_noise(drawing(8), 0.1)
    grey = torch.full((4, 3, 8, 8), 0.5)
    assert not torch.equal(change(grey, slice(0, 4)), change(grey, slice(4, 8)))
