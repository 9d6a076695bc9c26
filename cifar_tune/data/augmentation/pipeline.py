"""All augmentations of a configuration, drawn for one epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from cifar_tune.data.augmentation.affine import AffineMap
from cifar_tune.data.augmentation.coordinates import CoordinateMap, PixelPlaces, gather
from cifar_tune.data.augmentation.draw import Change, Draw, Epoch, Places, PlainChange, PlainShares, Shares
from cifar_tune.data.augmentation.mixing import mix, one_of
from cifar_tune.data.normalization import Normalization
from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.augmentations import Stage
from cifar_tune.knobs.configuration import Configuration

_KNOWN = (PixelPlaces, AffineMap, Change, Shares)


@dataclass(frozen=True)
class Augmentation:
    """What happens to the images of one epoch, by stages (`cifar_tune.data.augmentation`).

    Attributes:
        places: moves pixels along rows and columns.
        affine: turns and scales.
        pixels: change images in [0, 1].
        inputs: change normalised images.
        shares: how images are mixed.
    """

    places: PixelPlaces | None = None
    affine: AffineMap | None = None
    pixels: tuple[Change | PlainChange, ...] = ()
    inputs: tuple[Change | PlainChange, ...] = ()
    shares: Shares | PlainShares | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """What was drawn, of each image of the epoch, but for what a function of a plugin keeps to itself."""
        return [parameter for part in self._parts if isinstance(part, _KNOWN) for parameter in part.parameters]

    @property
    def form(self) -> list[object]:
        """The same of two epochs where what was drawn for one can be copied over what was drawn for the other."""
        return [
            (type(part), *((parameter.shape, parameter.dtype) for parameter in part.parameters))
            for part in self._parts
            if isinstance(part, _KNOWN)
        ]

    @property
    def has_plain_functions(self) -> bool:
        """Whether a function of a plugin takes part, of which nobody knows what it was drawn."""
        return not all(isinstance(part, _KNOWN) for part in self._parts)

    @property
    def _parts(self) -> list[object]:
        parts = (self.places, self.affine, *self.pixels, *self.inputs, self.shares)
        return [part for part in parts if part is not None]

    def images(self, images: Tensor, indices: Tensor, batch: Places, normalization: Normalization) -> Tensor:
        """Gather, augment and normalise a batch; all but mix it.

        Args:
            images: uint8 [N, H, W, 3], contiguous.
            indices: int64 [B], into `images`.
            batch: which images of the epoch they are.
            normalization: the configuration's.

        Returns:
            float32 [B, 3, H, W] in channels_last memory format.
        """
        moved = gather(images, indices, None if self.places is None else self.places[batch])
        inputs = normalization.apply(moved if self._keeps_values else self._changed(moved, batch))
        for change in self.inputs:
            inputs = change(inputs, batch)
        return inputs

    @property
    def _keeps_values(self) -> bool:
        return self.affine is None and not self.pixels

    def _changed(self, images: Tensor, batch: Places) -> Tensor:
        """Images [B, H, W, 3] in bytes, as floats in their units."""
        pixels = images.permute(0, 3, 1, 2).float().div_(255)
        if self.affine is not None:
            pixels = self.affine[batch].apply(pixels)
        for change in self.pixels:
            pixels = change(pixels, batch)
        return (pixels * 255).permute(0, 2, 3, 1).contiguous()

    def mixed(self, images: Tensor, labels: Tensor, batch: Places, classes: int) -> tuple[Tensor, Tensor]:
        """A batch of `images`, mixed where the configuration says so.

        Returns:
            Images as they came in shape and format; labels as they came, int64 [B], or, where images are mixed, the
            share of each class in each of them, float32 [B, classes].
        """
        if self.shares is None:
            return images, labels
        return mix(images, labels, self.shares(batch), classes)


def draw_augmentation(
    config: Configuration, epoch: Epoch, device: torch.device, generators: dict[str, torch.Generator] | None = None
) -> Augmentation:
    """Draw the augmentations of `config` for one epoch.

    Each has a generator of its own, so that adding one leaves the draws of the others as they are.

    Args:
        config: names the augmentations.
        epoch: what is drawn for.
        device: of the images.
        generators: those of an earlier epoch, by name, which get new seeds; new ones are added.
    """
    generators = {} if generators is None else generators

    def draw(name: str) -> Draw:
        seed, part = config.integer("seed"), config.vocabulary.augmentations.get(name)
        once = part is not None and part.drawn_once
        derived = derive_seed(name, seed) if once else derive_seed(name, seed, epoch.number)
        generator = generators.setdefault(name, torch.Generator(device))
        return Draw(generator.manual_seed(derived), epoch)

    return combined(config, epoch, draw)


def combined(config: Configuration, epoch: Epoch, draw: Callable[[str], Draw]) -> Augmentation:
    """The augmentations of `config` for one epoch, from the draws that each gets for its name.

    What decides between several that mix images is drawn for the name `mixing`.
    """
    drawn: dict[Stage, list[Any]] = {}
    for name in config.names("augment"):
        part = config.vocabulary.augmentations[name]
        augmentation: Callable[..., Any] = part.resolve()
        drawn.setdefault(part.stage, []).append(augmentation(draw(name), **part.arguments_from(config)))
    mixers = drawn.get("mixing", [])
    coordinates = reduce(CoordinateMap.then, drawn["coordinates"]) if "coordinates" in drawn else None
    return Augmentation(
        places=None if coordinates is None else coordinates.in_batches(epoch.image_size, epoch.batch_size),
        affine=reduce(AffineMap.then, drawn["affine"]) if "affine" in drawn else None,
        pixels=tuple(drawn.get("pixels", ())),
        inputs=tuple(drawn.get("inputs", ())),
        shares=one_of(draw("mixing").integers(len(mixers)), mixers) if len(mixers) > 1 else next(iter(mixers), None),
    )
