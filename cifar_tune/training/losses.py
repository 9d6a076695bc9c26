"""From a configuration to the loss that training minimises."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from cifar_tune.knobs.configuration import Configuration

Loss = Callable[[Tensor, Tensor], Tensor]
"""Takes logits float32 (N, classes) and targets, int64 (N,) or probabilities (N, classes); returns their mean, ()."""


def build_loss(config: Configuration) -> Loss:
    """Return the configuration's loss."""
    part = config.part("loss")
    return partial(part.resolve(), **part.arguments_from(config))


def focal(logits: Tensor, targets: Tensor, *, gamma: float) -> Tensor:
    """Cross entropy with each class's term times (1 - its probability) ** gamma, averaged over the images.

    Lin, Goyal, Girshick, He and Dollar, "Focal loss for dense object detection", ICCV 2017 (arXiv:1708.02002); for many
    classes Mukhoti et al., NeurIPS 2020 (arXiv:2002.09437). With gamma = 0 it is the cross entropy.
    """
    logs = logits.log_softmax(1)
    # A probability that rounds to 1 leaves 0 here, whose power has an infinite slope where gamma < 1.
    missing = (-logs.expm1()).clamp_min(torch.finfo(logs.dtype).tiny)
    return -(_as_probabilities(targets, logs) * missing.pow(gamma) * logs).sum(1).mean()


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference between logits and one-hot labels, over images and classes.

    Hui and Belkin, "Evaluation of neural architectures trained with square loss vs cross-entropy in classification
    tasks", ICLR 2021 (arXiv:2006.07322).
    """
    return functional.mse_loss(logits, _as_probabilities(targets, logits))


def _as_probabilities(targets: Tensor, logits: Tensor) -> Tensor:
    """Probabilities as they are; classes as one-hot rows, without asking the device for the largest one."""
    if targets.dim() == 2:
        return targets.to(logits.dtype)
    return torch.zeros_like(logits).scatter_(1, targets.unsqueeze(1), 1)
