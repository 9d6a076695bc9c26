"""Draw every augmentation on images of a folder: one row each, the images as they are above.

python benchmarks/augmentation_gallery.py FOLDER OUTPUT.png

FOLDER holds `train/<class>/*`. Images are in the order of an epoch, so that each mixed image holds a part of the one to
its left; the first one's is the last of the batch.
"""

import argparse
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import torch
from matplotlib import pyplot as plt
from torch import Tensor

from cifar_tune.data.batches import training_batches
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.part import Value

COLUMNS = 16
TRAINING_IMAGES = 1000


def rows() -> list[tuple[str, dict[str, Value]]]:
    """What is drawn: a label and the knobs of each row."""
    drawn: list[tuple[str, dict[str, Value]]] = [("(none)", {})]
    drawn += [(name, {"augment": (name,)}) for name in AUGMENTATIONS]
    crop: dict[str, Value] = {"augment": ("random_crop",), "crop_padding": 8}
    drawn += [(f"random_crop 8 {mode}", {**crop, "crop_padding_mode": mode}) for mode in ("zeros", "reflect", "edge")]
    drawn += [
        ("rotation+scale", {"augment": ("rotation", "scale")}),
        ("mixup+cutmix", {"augment": ("mixup", "cutmix")}),
        ("hue 0.5", {"augment": ("hue",), "hue": 0.5}),
        ("color_temperature 100", {"augment": ("color_temperature",), "color_temperature": 100.0}),
        ("randaugment 3, 30", {"augment": ("randaugment",), "randaugment_num_ops": 3, "randaugment_magnitude": 30}),
        (
            "crop, flip, jitter, cutout",
            {"augment": ("random_crop", "horizontal_flip", "brightness", "contrast", "cutout")},
        ),
    ]
    return drawn


def first_images(data: ResidentData, knobs: dict[str, Value], epoch: int) -> Tensor:
    """Standardized as in training, so that what is erased is the mean colour; back to [0, 1] for the eye."""
    images, _ = next(training_batches(data, complete({"batch_size": COLUMNS, **knobs}), epoch))
    shown = images * data.std[:, None, None] + data.mean[:, None, None]
    return (shown / 255).clamp(0, 1).permute(0, 2, 3, 1)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="holds train/<class>/*")
    parser.add_argument("output", type=Path, help="the picture to write, a .png file")
    parser.add_argument("--epoch", type=int, default=1)
    arguments = parser.parse_args()
    spec = DataSpec(name="image_folder", root=arguments.folder, train_size=TRAINING_IMAGES)
    data = ResidentData(prepare(spec), torch.device("cpu"))

    drawn = rows()
    figure, axes = plt.subplots(len(drawn), 1, figsize=(COLUMNS + 3, len(drawn)), layout="constrained")
    for axis, (label, knobs) in zip(axes, drawn, strict=True):
        images = first_images(data, knobs, arguments.epoch)
        axis.imshow(torch.cat(list(images), dim=1).numpy(), interpolation="nearest")
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=13)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(arguments.output, dpi=70, bbox_inches="tight")


if __name__ == "__main__":
    main()
