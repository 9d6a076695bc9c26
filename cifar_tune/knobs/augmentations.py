"""The augmentations. A new one is one entry here, and a function in `cifar_tune.data.augmentation`."""

from collections.abc import Mapping

from cifar_tune.knobs.part import Part

AUGMENTATIONS: Mapping[str, Part] = {
    "random_crop": Part(
        "cifar_tune.data.augmentation:random_crop",
        "pad by crop_padding pixels of zero, then cut out a window at a random place",
        arguments={"crop_padding": "padding"},
    ),
    "horizontal_flip": Part(
        "cifar_tune.data.augmentation:horizontal_flip",
        "mirror every second image, drawn at random",
    ),
}
