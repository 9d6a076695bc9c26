"""The augmentations. A new one is one entry here, and a function in `cifar_tune.data.augmentation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from cifar_tune.knobs.part import Part

Stage = Literal["coordinates", "affine", "pixels", "inputs", "mixing"]
"""Where an augmentation joins: `cifar_tune.data.augmentation` says what happens in each stage."""

PADDING_MODES: Mapping[str, str] = {
    "zeros": "black",
    "reflect": "the image, mirrored at its border pixels",
    "edge": "the nearest border pixel",
}


@dataclass(frozen=True, slots=True)
class AugmentationPart(Part):
    """An augmentation.

    Attributes:
        stage: when it is applied. Plugins take `pixels` (values in [0, 1]) or `inputs` (normalized).
        drawn_once: it draws the same in all epochs of a training, and changes with the epoch's number by a rule.
    """

    stage: Stage = "pixels"
    drawn_once: bool = False

    @property
    def mixes_labels(self) -> bool:
        """Whether labels become shares of all classes: the loss must take those."""
        return self.stage == "mixing"


_IN = "cifar_tune.data.augmentation"

_BUILT_IN: Mapping[str, AugmentationPart] = {
    "random_crop": AugmentationPart(
        f"{_IN}.coordinates:random_crop",
        "pad by crop_padding pixels, then cut out a window at a random place",
        arguments={"crop_padding": "padding", "crop_padding_mode": "padding_mode"},
        stage="coordinates",
    ),
    "horizontal_flip": AugmentationPart(
        f"{_IN}.coordinates:horizontal_flip",
        "mirror left and right, each image with probability 1/2",
        stage="coordinates",
    ),
    "alternating_flip": AugmentationPart(
        f"{_IN}.coordinates:alternating_flip",
        "mirror left and right: at random in the first epoch, then each image in every second epoch (Jordan 2024)",
        stage="coordinates",
        drawn_once=True,
    ),
    "vertical_flip": AugmentationPart(
        f"{_IN}.coordinates:vertical_flip",
        "mirror top and bottom, each image with probability 1/2",
        stage="coordinates",
    ),
    "rotation": AugmentationPart(
        f"{_IN}.affine:rotation",
        "turn about the middle by -rotation_degrees to rotation_degrees; what comes from outside is black",
        arguments={"rotation_degrees": "degrees"},
        stage="affine",
    ),
    "scale": AugmentationPart(
        f"{_IN}.affine:scale",
        "enlarge or shrink about the middle by 1 - scale_range to 1 + scale_range; what comes from outside is black",
        arguments={"scale_range": "scale_range"},
        stage="affine",
    ),
    "brightness": AugmentationPart(
        f"{_IN}.colour:brightness",
        "multiply values by 1 - brightness to 1 + brightness",
        arguments={"brightness": "strength"},
    ),
    "contrast": AugmentationPart(
        f"{_IN}.colour:contrast",
        "multiply distances from the mean grey by 1 - contrast to 1 + contrast",
        arguments={"contrast": "strength"},
    ),
    "saturation": AugmentationPart(
        f"{_IN}.colour:saturation",
        "multiply distances from grey by 1 - saturation to 1 + saturation",
        arguments={"saturation": "strength"},
    ),
    "hue": AugmentationPart(
        f"{_IN}.colour:hue",
        "turn the colour circle by -hue to hue",
        arguments={"hue": "strength"},
    ),
    "color_temperature": AugmentationPart(
        f"{_IN}.colour:color_temperature",
        "change the light between bluish and reddish by -color_temperature to color_temperature",
        arguments={"color_temperature": "mired"},
    ),
    "gaussian_noise": AugmentationPart(
        f"{_IN}.noise:gaussian_noise",
        "add normal noise of deviation noise_std to every value",
        arguments={"noise_std": "std"},
    ),
    "randaugment": AugmentationPart(
        f"{_IN}.policies:randaugment",
        "randaugment_num_ops random operations of magnitude randaugment_magnitude, of 30 (Cubuk et al. 2019)",
        arguments={"randaugment_num_ops": "num_ops", "randaugment_magnitude": "magnitude"},
    ),
    "trivialaugment": AugmentationPart(
        f"{_IN}.policies:trivialaugment",
        "one random operation of random magnitude, wide set (Mueller and Hutter 2021)",
    ),
    "cutout": AugmentationPart(
        f"{_IN}.erasing:cutout",
        "set a square with sides of cutout_size pixels and its middle anywhere to 0 (DeVries and Taylor 2017)",
        arguments={"cutout_size": "length"},
        stage="inputs",
    ),
    "random_erasing": AugmentationPart(
        f"{_IN}.erasing:random_erasing",
        "set a random rectangle to 0 with probability erasing_probability (after Zhong et al. 2017)",
        arguments={"erasing_probability": "probability", "erasing_max_area": "max_area"},
        stage="inputs",
    ),
    "mixup": AugmentationPart(
        f"{_IN}.mixing:mixup",
        "blend each image and its label with another; with cutmix, each image gets one of the two (Zhang et al. 2017)",
        arguments={"mixup_alpha": "alpha"},
        stage="mixing",
    ),
    "cutmix": AugmentationPart(
        f"{_IN}.mixing:cutmix",
        "paste a rectangle of another image, and mix the labels by its area; see mixup (Yun et al. 2019)",
        arguments={"cutmix_alpha": "alpha"},
        stage="mixing",
    ),
}

AUGMENTATIONS: Mapping[str, AugmentationPart] = MappingProxyType(_BUILT_IN)
