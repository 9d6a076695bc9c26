"""Measures a loaded model as its training measured it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cifar_tune.data.batches import EVALUATION_BATCH
from cifar_tune.model_files.loading import SavedModel
from cifar_tune.training.evaluation import evaluate
from cifar_tune.training.failures import training_errors

_ITSELF = "fp32"
"""The model sets its own precision; nothing is to be added around it."""


def measure_saved(
    model: SavedModel, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Mean cross entropy and accuracy; sets threads and arithmetic of the process as the training had them.

    Args:
        model: loaded.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].

    Raises:
        CheckError: memory does not suffice.
    """
    model.configure_process()
    device = model.scale.device
    with training_errors(device):
        [figures] = evaluate(model, _batches(images, labels, device), _ITSELF, device).read()
    return figures


def _batches(
    images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(labels), EVALUATION_BATCH):
        batch = slice(start, start + EVALUATION_BATCH)
        moved = torch.from_numpy(np.array(images[batch])).to(device).permute(0, 3, 1, 2)
        yield moved, torch.from_numpy(labels[batch]).to(device)
