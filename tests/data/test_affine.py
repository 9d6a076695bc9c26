import math

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import affine

from cifar_tune.data.augmentation.affine import AffineMap, rotation, scale, turned
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.knobs.configuration import complete

from .draws import CPU, drawing, epoch_of, pixels


def _angles(turning: AffineMap) -> torch.Tensor:
    return torch.rad2deg(torch.atan2(turning.matrix[:, 1, 0], turning.matrix[:, 0, 0]))


def test_rotation_and_scale_against_torchvision() -> None:
    images = pixels(20)
    draw = drawing(20)
    turning, scaling = rotation(draw, 40), scale(draw, 0.3)
    got = turning.then(scaling).apply(images)
    assert got.is_contiguous(memory_format=torch.channels_last)
    for position, angle in enumerate(_angles(turning).tolist()):
        factor = 1 / float(scaling.matrix[position, 0, 0])
        # torchvision turns clockwise here, and counterclockwise in `rotate`
        expected = affine(images[position], -angle, [0, 0], factor, [0.0, 0.0], InterpolationMode.BILINEAR)
        torch.testing.assert_close(got[position], expected, atol=2e-4, rtol=0)


def test_a_quarter_turn_is_exact_and_counterclockwise() -> None:
    images = pixels(3, size=8)
    turning = AffineMap(turned(torch.full((3,), math.pi / 2)))
    torch.testing.assert_close(turning.apply(images), images.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_rotation_degrees_reach_the_angles() -> None:
    drawn = draw_augmentation(complete({"augment": ("rotation",), "rotation_degrees": 30.0}), epoch_of(2000), CPU)
    assert drawn.affine is not None
    angles = _angles(drawn.affine)
    assert angles.abs().max() == pytest.approx(30, abs=0.2)
    assert angles.mean().abs() < 1.5


def test_scale_range_reaches_the_factors() -> None:
    drawn = draw_augmentation(complete({"augment": ("scale",), "scale_range": 0.4}), epoch_of(2000), CPU)
    assert drawn.affine is not None
    factors = 1 / drawn.affine.matrix[:, 0, 0]
    assert (float(factors.min()), float(factors.max())) == pytest.approx((0.6, 1.4), abs=2e-3)
    assert torch.equal(drawn.affine.matrix[:, 0, 0], drawn.affine.matrix[:, 1, 1])


def test_a_larger_factor_enlarges() -> None:
    square = torch.zeros(1, 1, 16, 16)
    square[:, :, 4:12, 4:12] = 1
    assert AffineMap(torch.eye(2)[None] / 1.5).apply(square).sum() > 1.5 * square.sum()
