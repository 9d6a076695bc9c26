"""Augmentations: drawn for a whole epoch at once, applied batch by batch.

There are two kinds. Those that only move pixels along rows and columns return a `CoordinateMap`; all of them together
cost one gather, on bytes. Those that change values (colour, noise, erasing, mixing) belong on the normalised float
batch, after the gather: `cifar_tune.data.batches` is where they join.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.configuration import Configuration


@dataclass(frozen=True)
class Draw:
    """What an augmentation draws its random parameters from.

    Attributes:
        generator: lives on the device of the images.
        count: images in the epoch.
        size: height and width of the images, in pixels.
    """

    generator: torch.Generator
    count: int
    size: int

    def integers(self, high: int) -> Tensor:
        """One integer of 0 … high - 1 per image: int32 [count]."""
        return torch.randint(
            high, (self.count,), generator=self.generator, device=self.generator.device, dtype=torch.int32
        )


@dataclass(frozen=True)
class CoordinateMap:
    """Where the pixels of each image come from, rows and columns apart.

    Row i of image n is row `row_start[n] + row_step[n] * i` of the image, and columns likewise. Pixels from outside the
    image are zero.

    Attributes:
        row_start, row_step, col_start, col_step: int32 [N]; steps are 1 or -1.
        margin: how far outside the image a coordinate may lie, in pixels.
    """

    row_start: Tensor
    row_step: Tensor
    col_start: Tensor
    col_step: Tensor
    margin: int = 0

    def __getitem__(self, images: slice) -> "CoordinateMap":
        """The map of these images only."""
        return CoordinateMap(
            self.row_start[images],
            self.row_step[images],
            self.col_start[images],
            self.col_step[images],
            self.margin,
        )

    def then(self, later: "CoordinateMap") -> "CoordinateMap":
        """One map that does this and then the later one."""
        return CoordinateMap(
            self.row_start + self.row_step * later.row_start,
            self.row_step * later.row_step,
            self.col_start + self.col_step * later.col_start,
            self.col_step * later.col_step,
            self.margin + later.margin,
        )


def random_crop(draw: Draw, padding: int) -> CoordinateMap:
    """Pad by `padding` zero pixels on each side, then cut out a window of the old size at a random place."""
    row_start = draw.integers(2 * padding + 1) - padding
    col_start = draw.integers(2 * padding + 1) - padding
    step = torch.ones_like(row_start)
    return CoordinateMap(row_start, step, col_start, step, margin=padding)


def horizontal_flip(draw: Draw) -> CoordinateMap:
    """Mirror left and right with probability 1/2."""
    flipped = draw.integers(2)
    zero, one = torch.zeros_like(flipped), torch.ones_like(flipped)
    return CoordinateMap(zero, one, flipped * (draw.size - 1), 1 - 2 * flipped)


def draw_coordinates(
    config: Configuration, epoch: int, count: int, size: int, device: torch.device
) -> CoordinateMap | None:
    """Draw the augmentations of `config` for one epoch; None where it has none.

    Each has a generator of its own, so that adding one leaves the draws of the others as they are.
    """
    drawn = None
    for name in config.names("augment"):
        part = AUGMENTATIONS[name]
        augmentation: Callable[..., CoordinateMap] = part.resolve()
        generator = torch.Generator(device).manual_seed(derive_seed(name, config.integer("seed"), epoch))
        coordinates = augmentation(Draw(generator, count, size), **part.arguments_from(config))
        drawn = coordinates if drawn is None else drawn.then(coordinates)
    return drawn


def gather(images: Tensor, indices: Tensor, coordinates: CoordinateMap | None = None) -> Tensor:
    """Gather a batch of images with their pixels moved by `coordinates`.

    Measured for a crop with a flip, in batches of 128 on two cores (thousand images a second with 1 / 2 threads): this
    way 121 / 213; with 64-bit indices 100 / 206; clamping the coordinates and masking 60 / 118; a padded copy of all
    images 101 / 138, and it would not be shared by processes; pixels of four bytes 53 / 80; windows by `as_strided`
    78 / 154, or row by row 130 / 197, but those can only crop.

    Args:
        images: uint8 [N, H, W, 3], contiguous.
        indices: int64 [B], into `images`.
        coordinates: of these B images.

    Returns:
        uint8 [B, H, W, 3], contiguous.
    """
    batch = images.index_select(0, indices)
    if coordinates is None:
        return batch
    count, height, width, channels = batch.shape
    margin = coordinates.margin
    padded = F.pad(batch, (0, 0, margin, margin, margin, margin))
    _, padded_height, padded_width, _ = padded.shape

    # 32 bits hold the position of every pixel of a batch, and move half the memory that 64 bits would.
    positions = torch.arange(max(height, width), dtype=torch.int32, device=images.device)
    image = torch.arange(count, dtype=torch.int32, device=images.device)
    rows = (coordinates.row_start + margin)[:, None] + coordinates.row_step[:, None] * positions[:height]
    cols = (coordinates.col_start + margin)[:, None] + coordinates.col_step[:, None] * positions[:width]
    row_origins = (image[:, None] * padded_height + rows) * padded_width
    pixels = (row_origins[:, :, None] + cols[:, None, :]).view(-1)
    return padded.view(-1, channels).index_select(0, pixels).view(count, height, width, channels)
