import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cifar_tune.data.augmentation import CoordinateMap, Draw, draw_coordinates, gather, horizontal_flip, random_crop
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.configuration import complete

CPU = torch.device("cpu")


def _draw(count: int, size: int, seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), count, size)


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
    draw = _draw(count, size)
    crop, flip = random_crop(draw, padding), horizontal_flip(draw)
    got = gather(images, indices, crop.then(flip) if crop_first else flip.then(crop))

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
    draw = _draw(6, 8)
    crop, flip, back = random_crop(draw, 2), horizontal_flip(draw), horizontal_flip(draw)
    got = gather(images, everything, flip.then(crop).then(back))
    vertical = _transposed(flip).then(_transposed(crop)).then(_transposed(back))
    assert torch.equal(gather(turned, everything, vertical).transpose(1, 2), got)


def test_crops_are_uniform_over_all_places_and_both_axes_apart() -> None:
    crop = random_crop(_draw(81_000, 32), padding=4)
    places = (crop.row_start + 4) * 9 + crop.col_start + 4
    counts = torch.bincount(places, minlength=81)
    assert len(counts) == 81
    assert counts.min() > 850
    assert counts.max() < 1150


def test_half_of_the_images_are_flipped() -> None:
    flip = horizontal_flip(_draw(10_000, 32))
    flipped = flip.col_step == -1
    assert 0.47 < flipped.float().mean() < 0.53
    assert (flip.col_start[flipped] == 31).all()
    assert (flip.col_start[~flipped] == 0).all()


def test_without_coordinates_images_come_as_they_are() -> None:
    images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    assert torch.equal(gather(images, torch.tensor([3, 0])), images[[3, 0]])


def _same(first: CoordinateMap | None, second: CoordinateMap | None) -> bool:
    assert first is not None
    assert second is not None
    return all(
        torch.equal(getattr(first, name), getattr(second, name))
        for name in ("row_start", "row_step", "col_start", "col_step")
    )


def test_draws_depend_on_seed_and_epoch() -> None:
    config = complete({"augment": ("random_crop", "horizontal_flip"), "seed": 3})
    drawn = draw_coordinates(config, 1, 50, 32, CPU)
    assert _same(drawn, draw_coordinates(config, 1, 50, 32, CPU))
    assert not _same(drawn, draw_coordinates(config, 2, 50, 32, CPU))
    assert not _same(drawn, draw_coordinates(config.replaced(seed=4), 1, 50, 32, CPU))


def test_an_augmentation_does_not_change_the_draws_of_another() -> None:
    alone = draw_coordinates(complete({"augment": ("random_crop",)}), 1, 50, 32, CPU)
    both = draw_coordinates(complete({"augment": ("random_crop", "horizontal_flip")}), 1, 50, 32, CPU)
    assert alone is not None
    assert both is not None
    assert torch.equal(alone.row_start, both.row_start)


def test_parameters_come_from_the_configuration() -> None:
    config = complete({"augment": ("random_crop",), "crop_padding": 2})
    drawn = draw_coordinates(config, 1, 1000, 32, CPU)
    assert drawn is not None
    assert drawn.margin == 2
    assert (int(drawn.row_start.min()), int(drawn.row_start.max())) == (-2, 2)


def test_no_augmentation_draws_nothing() -> None:
    assert draw_coordinates(complete({"augment": ()}), 1, 50, 32, CPU) is None


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_registered_augmentation_works(name: str) -> None:
    images: Tensor = torch.randint(0, 256, (6, 32, 32, 3), dtype=torch.uint8)
    drawn = draw_coordinates(complete({"augment": (name,)}), 1, 6, 32, CPU)
    assert drawn is not None
    moved = gather(images, torch.arange(6), drawn)
    assert moved.shape == images.shape
    assert not torch.equal(moved, images)
