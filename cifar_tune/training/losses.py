"""From a configuration to the loss that training minimises."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cifar_tune.knobs.configuration import Configuration

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes logits float32 (N, classes) and targets, int64 (N,) or probabilities (N, classes); returns their mean, ()."""


def build_loss(config: Configuration, class_weights: Tensor | None = None) -> Loss:
    """Return the configuration's loss.

    Args:
        config: what is trained.
        class_weights: of each class, float32 (classes,), for a loss that takes them (`weights_of_classes`).
    """
    part = config.part("loss")
    arguments = part.arguments_from(config)
    if "class_weights" in part.arguments:
        arguments[part.arguments["class_weights"]] = class_weights
    return partial(part.resolve(), **arguments)


def cross_entropy(logits: Tensor, targets: Tensor, *, label_smoothing: float, class_weights: Tensor | None) -> Tensor:
    """The mean over the images of torch's cross entropy, in which each class's term has its weight.

    torch divides by the sum of the weights where targets are classes. Then a batch with few images of a heavy class
    would count as much as one with many, and the gradient of a batch would not be the mean of those of its parts.
    """
    if class_weights is None:
        return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
    total = functional.cross_entropy(
        logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="sum"
    )
    return total / len(logits)


def focal(logits: Tensor, targets: Tensor, *, gamma: float, class_weights: Tensor | None) -> Tensor:
    """Cross entropy with each class's term times (1 - its probability) ** gamma, averaged over the images.

    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV 2017 (arXiv:1708.02002); for many
    classes Mukhoti et al., NeurIPS 2020 (arXiv:2002.09437). With gamma = 0 it is the cross entropy. The weights are the
    alpha of Lin et al.
    """
    logs = logits.log_softmax(1)
    # A probability that rounds to 1 leaves 0 here, whose power has an infinite slope where gamma < 1.
    missing = (-logs.expm1()).clamp_min(torch.finfo(logs.dtype).tiny)
    terms = _as_probabilities(targets, logs) * missing.pow(gamma) * logs
    return -(terms if class_weights is None else terms * class_weights).sum(1).mean()


def multi_margin(logits: Tensor, targets: Tensor, *, margin: float, class_weights: Tensor | None) -> Tensor:
    """The hinge loss of several classes in torch; each image has the weight of its class.

    Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", JMLR 2001.
    """
    return functional.multi_margin_loss(logits, targets, margin=margin, weight=class_weights)


def squared_error(logits: Tensor, targets: Tensor, *, class_weights: Tensor | None) -> Tensor:
    """Mean squared difference between logits and one-hot labels, over images and classes.

    Hui and Belkin, "Evaluation of neural architectures trained with square loss vs cross-entropy in classification
    tasks", ICLR 2021 (arXiv:2006.07322). Each image has the weight of its class, and a mixed one
    the mean weight of its classes.
    """
    probabilities = _as_probabilities(targets, logits)
    if class_weights is None:
        return functional.mse_loss(logits, probabilities)
    errors = functional.mse_loss(logits, probabilities, reduction="none").mean(1)
    return (errors * (probabilities @ class_weights)).mean()


def _as_probabilities(targets: Tensor, logits: Tensor) -> Tensor:
    """Probabilities as they are; classes as one-hot rows, without asking the device for the largest one."""
    if targets.dim() == 2:
        return targets.to(logits.dtype)
    return torch.zeros_like(logits).scatter_(1, targets.unsqueeze(1), 1)
