"""What a trained model says of the validation images."""

import numpy as np
import numpy.typing as npt
import torch

from cifar_tune.data.batches import validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.statistics.predictions import Predictions
from cifar_tune.training.device import autocast
from cifar_tune.training.loop import Training


@torch.inference_mode()
def predict(training: Training) -> Predictions:
    """Let the trained model, or its moving average, look at the validation split; no test image is opened."""
    data = training.data
    model = training.learner.evaluated.eval()
    probabilities = []
    with autocast(training.precision, training.device):
        for images, _ in validation_batches(data, training.config):
            probabilities.append(model(images).float().softmax(1).cpu().numpy())
    labels = data.labels[data.val_indices].cpu().numpy()
    return Predictions(data.classes, labels, np.concatenate(probabilities))


def validation_image(data: ResidentData, position: int) -> npt.NDArray[np.uint8]:
    """An image of the validation split as it is, uint8 [H, W, 3]."""
    image: npt.NDArray[np.uint8] = data.images[data.val_indices[position]].cpu().numpy()
    return image
