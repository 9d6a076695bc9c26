"""What a trained model says of the validation images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cifar_tune.data.batches import validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.training.device import autocast
from cifar_tune.training.loop import Training


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Of the validation split, in its own order.

    Attributes:
        classes: names; label i is `classes[i]`.
        labels: int64 [V].
        probabilities: float32 [V, classes]; softmax of the logits, whatever loss was minimised.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The most probable class of each image, int64 [V]."""
        most: npt.NDArray[np.int64] = self.probabilities.argmax(1)
        return most

    @property
    def accuracy(self) -> float:
        """Share of the images that are right."""
        return float((self.predicted == self.labels).mean())

    def confusion(self) -> npt.NDArray[np.int64]:
        """How many images of each class (row) were taken for each class (column), int64 [classes, classes]."""
        table = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(table, (self.labels, self.predicted), 1)
        return table

    def mistakes(self) -> npt.NDArray[np.int64]:
        """Positions of the images that are wrong, the ones with the most probable prediction first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(1), kind="stable")]


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
