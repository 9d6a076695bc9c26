"""From the knob `class_weights` and the images of a training to the weight of each class."""

import torch
from torch import Tensor

from cifar_tune.data.resident import ResidentData
from cifar_tune.errors import UserError
from cifar_tune.knobs.class_weights import unknown_classes, weights_by_class
from cifar_tune.knobs.configuration import Configuration


def weights_of_classes(config: Configuration, data: ResidentData) -> Tensor | None:
    """The weight of each class in the loss, float32 (classes,) on the device of the data; None where all are alike.

    They are scaled so that the mean over the training images is 1, and with it the size of a step what it is without
    weights. "Balanced" is scikit-learn's: images / (classes * images of the class).

    Raises:
        UserError: a weight is for a class that the data do not have.
    """
    value = config.text("class_weights") if "class_weights" in config else "none"
    if value == "none":
        return None
    counts = data.train_counts
    if value == "balanced":
        weights = [1 / count if count else 1.0 for count in counts]
    else:
        problems = unknown_classes(value, data.classes, "train.class_weights")
        if problems:
            raise UserError(problems)
        given = weights_by_class(value)
        weights = [given.get(name, 1.0) for name in data.classes]
    mean = sum(weight * count for weight, count in zip(weights, counts, strict=True)) / sum(counts)
    return torch.tensor([weight / mean for weight in weights], dtype=torch.float32).to(data.device)
