"""Loss and accuracy of a model on images that it is not trained on."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.training.precision import autocast
from cifar_tune.training.tally import Tally


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: str, device: torch.device) -> Tally:
    """Leave the model in evaluation mode, and return its cross entropy and accuracy over the batches.

    Args:
        model: maps images to logits.
        batches: images float32 (N, 3, H, W) and labels int64 (N,); sizes may differ.
        precision: `fp32` or `bf16`.
        device: where model and batches are.
    """
    model.eval()
    tally = Tally(device)
    with autocast(precision, device):  # around all batches, so that weights are cast only once
        for images, labels in batches:
            logits = model(images).float()
            tally.add(functional.cross_entropy(logits, labels), (logits.argmax(1) == labels).sum(), len(labels))
    return tally
