from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cifar_tune.data.augmentation import coordinates
from cifar_tune.data.augmentation.coordinates import (
    CoordinateMap,
    PixelPlaces,
    gather,
    horizontal_flip,
    random_crop,
    vertical_flip,
)
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.knobs.configuration import Configuration, complete

from .draws import CPU, drawing, epoch_of


def draw_places(config: Configuration, epoch: int, count: int) -> PixelPlaces | None:
    return draw_augmentation(config, epoch_of(count, number=epoch), CPU).places


def starts_of(places: PixelPlaces | None, size: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each image in the one batch its first row, its first column, and the step from column to column."""
    assert places is not None
    side = size + 2 * places.margin
    images = torch.arange(len(places.lines))
    first_col = places.lines[:, size]
    rows = places.lines[:, 0] // side - images * side
    return rows - places.margin, first_col - places.margin, places.lines[:, size + 1] - first_col


def gathered(images: torch.Tensor, indices: torch.Tensor, coordinates: CoordinateMap) -> torch.Tensor:
    """As one batch."""
    return gather(images, indices, coordinates.in_batches(images.shape[1], len(indices)))


def _cropped(image: npt.NDArray[np.uint8], down: int, right: int, padding: int) -> npt.NDArray[np.uint8]:
    """A window of the padded image, moved from its middle; pixel by pixel."""
    size = len(image)
    out = np.zeros_like(image)
    for row in range(size):
        for col in range(size):
            from_row, from_col = row + down, col + right
            assert -padding <= from_row < size + padding
            assert -padding <= from_col < size + padding
            if 0 <= from_row < size and 0 <= from_col < size:
                out[row, col] = image[from_row, from_col]
    return out


def _flipped(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    out = np.zeros_like(image)
    for row in range(len(image)):
        for col in range(len(image)):
            out[row, col] = image[row, len(image) - 1 - col]
    return out


@pytest.mark.parametrize("padding", [1, 4, 16])
@pytest.mark.parametrize("crop_first", [True, False])
def test_crop_and_flip_against_a_slow_reference(padding: int, crop_first: bool) -> None:
    count, size = 24, 8
    images = torch.randint(0, 256, (40, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    indices = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:count]
    draw = drawing(count, size)
    crop, flip = random_crop(draw, padding, "zeros"), horizontal_flip(draw)
    got = gathered(images, indices, crop.then(flip) if crop_first else flip.then(crop))

    assert got.is_contiguous()
    for position, index in enumerate(indices.tolist()):
        image = images[index].numpy()
        down, right = int(crop.row_start[position]), int(crop.col_start[position])
        flipped = int(flip.col_step[position]) == -1
        if flipped and not crop_first:
            image = _flipped(image)
        image = _cropped(image, down, right, padding)
        if flipped and crop_first:
            image = _flipped(image)
        assert (got[position].numpy() == image).all()


def _transposed(coordinates: CoordinateMap) -> CoordinateMap:
    return CoordinateMap(
        coordinates.col_start,
        coordinates.col_step,
        coordinates.row_start,
        coordinates.row_step,
        coordinates.margin,
    )


def test_rows_and_columns_are_treated_alike() -> None:
    images = torch.randint(0, 256, (6, 8, 8, 3), dtype=torch.uint8)
    turned = images.transpose(1, 2).contiguous()
    everything = torch.arange(6)
    draw = drawing(6, 8)
    crop, flip, back = random_crop(draw, 2, "zeros"), horizontal_flip(draw), horizontal_flip(draw)
    got = gathered(images, everything, flip.then(crop).then(back))
    vertical = _transposed(flip).then(_transposed(crop)).then(_transposed(back))
    assert torch.equal(gathered(turned, everything, vertical).transpose(1, 2), got)


def test_crops_are_uniform_over_all_places_and_both_axes_apart() -> None:
    crop = random_crop(drawing(81_000, 32), 4, "zeros")
    places = (crop.row_start + 4) * 9 + crop.col_start + 4
    counts = torch.bincount(places, minlength=81)
    assert len(counts) == 81
    assert counts.min() > 850
    assert counts.max() < 1150


def test_half_of_the_images_are_flipped() -> None:
    flip = horizontal_flip(drawing(10_000, 32))
    flipped = flip.col_step == -1
    assert 0.47 < flipped.float().mean() < 0.53
    assert (flip.col_start[flipped] == 31).all()
    assert (flip.col_start[~flipped] == 0).all()


def test_without_coordinates_images_come_as_they_are() -> None:
    images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    assert torch.equal(gather(images, torch.tensor([3, 0])), images[[3, 0]])


def _same(first: PixelPlaces | None, second: PixelPlaces | None) -> bool:
    assert first is not None
    assert second is not None
    return torch.equal(first.lines, second.lines)


def test_draws_depend_on_seed_and_epoch() -> None:
    config = complete({"augment": ("random_crop", "horizontal_flip"), "seed": 3})
    drawn = draw_places(config, 1, 50)
    assert _same(drawn, draw_places(config, 1, 50))
    assert not _same(drawn, draw_places(config, 2, 50))
    assert not _same(drawn, draw_places(config.replaced(seed=4), 1, 50))


def test_an_augmentation_does_not_change_the_draws_of_another() -> None:
    alone = draw_places(complete({"augment": ("random_crop",)}), 1, 50)
    both = draw_places(complete({"augment": ("random_crop", "horizontal_flip")}), 1, 50)
    assert alone is not None
    assert both is not None
    rows = slice(0, alone.lines.shape[1] // 2)
    assert torch.equal(alone.lines[:, rows], both.lines[:, rows])


def test_parameters_come_from_the_configuration() -> None:
    config = complete({"augment": ("random_crop",), "crop_padding": 2})
    drawn = draw_places(config, 1, 1000)
    assert drawn is not None
    assert drawn.margin == 2
    rows, _, _ = starts_of(drawn)
    assert (int(rows.min()), int(rows.max())) == (-2, 2)


def test_no_augmentation_draws_nothing() -> None:
    assert draw_places(complete({"augment": ()}), 1, 50) is None


def test_the_draws_of_earlier_versions_are_kept() -> None:
    drawn = draw_places(complete({"augment": ("random_crop", "horizontal_flip"), "seed": 3}), 2, 50)
    rows, cols, steps = starts_of(drawn)
    assert rows[:12].tolist() == [4, -3, 0, -4, -2, -1, -2, -4, -1, -3, -2, 0]
    assert cols[:12].tolist() == [28, 1, 29, 29, -4, 35, 35, -3, 31, 33, 33, 1]
    assert steps[:12].tolist() == [-1, 1, -1, -1, 1, -1, -1, 1, -1, -1, -1, 1]


@pytest.mark.parametrize(("padding_mode", "numpys"), [("zeros", "constant"), ("reflect", "reflect"), ("edge", "edge")])
@pytest.mark.parametrize("padding", [1, 4, 16])
@pytest.mark.parametrize("flip_first", [True, False])
def test_what_a_crop_is_padded_with(padding_mode: str, numpys: Any, padding: int, flip_first: bool) -> None:
    size = 8
    images = torch.randint(0, 256, (24, size, size, 3), dtype=torch.uint8)
    draw = drawing(24, size)
    crop, flip = random_crop(draw, padding, padding_mode), horizontal_flip(draw)
    got = gathered(images, torch.arange(24), flip.then(crop) if flip_first else crop.then(flip)).numpy()
    for position in range(24):
        flipped = int(flip.col_step[position]) == -1
        image = images[position].numpy()
        image = image[:, ::-1] if flipped and flip_first else image
        padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=numpys)
        top, left = int(crop.row_start[position]) + padding, int(crop.col_start[position]) + padding
        expected = padded[top : top + size, left : left + size]
        assert (got[position] == (expected[:, ::-1] if flipped and not flip_first else expected)).all()


def test_the_padding_mode_comes_from_the_configuration() -> None:
    for augment in (("random_crop", "horizontal_flip"), ("horizontal_flip", "random_crop")):
        drawn = draw_places(complete({"augment": augment, "crop_padding_mode": "edge"}), 1, 10)
        assert drawn is not None
        assert drawn.margin == 0
        cols = drawn.lines[:, 32:]
        assert (int(cols.min()), int(cols.max())) == (0, 31)
        assert (cols[:, 1:] == cols[:, :-1]).any()  # a border pixel comes again


def test_vertical_flip_mirrors_top_and_bottom() -> None:
    images = torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8)
    flip = vertical_flip(drawing(40, 8))
    got = gathered(images, torch.arange(40), flip)
    flipped = flip.row_step == -1
    assert 5 < flipped.sum() < 35
    assert torch.equal(got[flipped], images[flipped].flip(1))
    assert torch.equal(got[~flipped], images[~flipped])


def _sides(number: int, order: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Which training images an epoch shows mirrored, in their own order, where it shows them."""
    epoch = epoch_of(order=order, train_size=100, number=number)
    drawn = draw_augmentation(complete({"augment": ("alternating_flip",), "seed": seed}), epoch, CPU).places
    sides = torch.zeros(100, dtype=torch.int32)
    sides[order] = starts_of(drawn)[2]
    return sides


def test_alternating_flip_shows_every_image_both_ways_in_two_epochs() -> None:
    first = _sides(1, torch.randperm(100))
    assert 30 < (first == -1).sum() < 70
    for number in range(2, 6):
        assert torch.equal(_sides(number, torch.randperm(100)), first if number % 2 else -first)
    order = torch.randperm(100)[:60]
    partial = _sides(2, order)
    assert torch.equal(partial[order], -first[order])
    assert not torch.equal(_sides(1, torch.randperm(100), seed=1), first)


@pytest.mark.parametrize("padding_mode", ["zeros", "edge", "reflect"])
def test_positions_beyond_32_bits_are_64_bits_wide(padding_mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    draw = drawing(40, 8)
    moved = random_crop(draw, 2, padding_mode).then(horizontal_flip(draw))
    chosen: list[torch.dtype] = []
    index_select = torch.Tensor.index_select

    def noting(self: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
        chosen.append(index.dtype)
        return index_select(self, dim, index)

    monkeypatch.setattr(torch.Tensor, "index_select", noting)
    margin = 2 if padding_mode == "zeros" else 0
    pixels = 40 * (8 + 2 * margin) ** 2
    monkeypatch.setattr(coordinates, "_MOST_IN_32_BITS", pixels)
    narrow = gathered(images, torch.arange(40), moved)
    monkeypatch.setattr(coordinates, "_MOST_IN_32_BITS", pixels - 1)
    wide = gathered(images, torch.arange(40), moved)
    assert chosen[1::2] == [torch.int32, torch.int64]
    assert torch.equal(narrow, wide)
    assert torch.iinfo(torch.int32).max == 2**31 - 1  # the last position of as many pixels as the limit allows
