"""Views of an image over which the logits are averaged where a model is evaluated. A new one is one entry here."""

from collections.abc import Mapping
from dataclasses import dataclass

from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class ViewsPart(Part):
    """A way of looking at an image.

    Attributes:
        views: how many; this many times a plain evaluation is what it costs.
    """

    views: int = 1


_VIEWS = "cifar_tune.training.evaluation"

TEST_TIME_AUGMENTATIONS: Mapping[str, ViewsPart] = {
    "none": ViewsPart(f"{_VIEWS}:single", "the image as it is"),
    "mirror": ViewsPart(f"{_VIEWS}:mirror", "the image and its mirror image: twice the evaluation", views=2),
    "multi_crop": ViewsPart(
        f"{_VIEWS}:multi_crop",
        "half of it mirror, half the same shifted by a pixel up left and down right (Jordan 2024): six times the "
        "evaluation",
        views=6,
    ),
}
