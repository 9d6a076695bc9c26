import math

import pytest
import torch
from torch import Tensor

from cifar_tune.data.augmentation.erasing import cutout, inside, random_erasing, rectangles
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.knobs.configuration import complete

from .draws import CPU, drawing, epoch_of

WHOLE = slice(0, None)


def _erased(change: Tensor) -> Tensor:
    """Which pixels are zero: bool [N, S, S], alike in all channels."""
    assert torch.equal(change[:, :1].expand_as(change), change)
    return change[:, 0] == 0


def _box(mask: Tensor) -> tuple[int, int, int, int]:
    """top, left, height, width of what is erased, which must be a rectangle."""
    rows, cols = (mask.any(dim).nonzero().flatten().tolist() for dim in (1, 0))
    top, left, height, width = rows[0], cols[0], len(rows), len(cols)
    assert mask[top : top + height, left : left + width].all()
    assert mask.sum() == height * width
    return top, left, height, width


def test_rectangles_against_slow_loops() -> None:
    edges = torch.randint(-4, 14, (30, 4), dtype=torch.int32)
    got = inside(rectangles(*edges.unbind(1)), 10)
    for (top, left, bottom, right), mask in zip(edges.tolist(), got, strict=True):
        for row in range(10):
            for col in range(10):
                assert mask[row, col] == (top <= row < bottom and left <= col < right)


@pytest.mark.parametrize("length", [1, 5, 8, 40])
def test_cutout_erases_a_square_around_any_pixel(length: int) -> None:
    size, count = 12, 1500
    images = torch.rand(count, 3, size, size) + 1
    got = cutout(drawing(count, size), length)(images, WHOLE)
    mask = (got == 0).all(1)
    assert torch.equal(got[~mask[:, None].expand_as(got)], images[~mask[:, None].expand_as(got)])
    before, after = length // 2, length - length // 2
    expected = {
        (max(0, y - before), max(0, x - before), min(size, y + after) - max(0, y - before),
         min(size, x + after) - max(0, x - before))
        for y in range(size) for x in range(size)
    }  # fmt: skip
    assert {_box(one) for one in mask} == expected


def test_cutout_size_comes_from_the_configuration() -> None:
    config = complete({"augment": ("cutout",), "cutout_size": 6})
    [change] = draw_augmentation(config, epoch_of(200), CPU).inputs
    mask = _erased(change(torch.ones(200, 3, 32, 32), WHOLE))
    assert mask.sum((1, 2)).max() == 36


@pytest.mark.parametrize("max_area", [0.02, 0.33, 1.0])
def test_random_erasing_erases_rectangles_of_the_areas_and_ratios_asked_for(max_area: float) -> None:
    size, count = 32, 3000
    got = random_erasing(drawing(count, size), 1.0, max_area)(torch.ones(count, 3, size, size), WHOLE)
    boxes = [_box(mask) for mask in _erased(got)]
    areas = torch.tensor([height * width / size**2 for _, _, height, width in boxes])
    assert 0.012 < areas.min() < 0.035
    assert float(areas.max()) == pytest.approx(max_area, abs=0.02)
    assert float(areas.mean()) == pytest.approx((0.02 + max_area) / 2, abs=0.02)
    ratios = torch.tensor([math.log(height / width) for _, _, height, width in boxes])
    assert ratios.abs().max() < math.log(1 / 0.3) + 0.35  # sides are whole pixels
    assert ratios.mean().abs() < 0.06
    assert min(top for top, *_ in boxes) == min(left for _, left, *_ in boxes) == 0
    assert max(top + height for top, _, height, _ in boxes) == size


def test_knobs_of_random_erasing_come_from_the_configuration() -> None:
    config = complete({"augment": ("random_erasing",), "erasing_probability": 0.25, "erasing_max_area": 0.1})
    [change] = draw_augmentation(config, epoch_of(4000), CPU).inputs
    areas = _erased(change(torch.ones(4000, 3, 32, 32), WHOLE)).float().mean((1, 2))
    assert float((areas > 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert 0.08 < areas.max() < 0.12
