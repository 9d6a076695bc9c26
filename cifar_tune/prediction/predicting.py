"""Predictions of a saved model, batch by batch: several threads read images and run the model at the same time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
import numpy.typing as npt
import torch
from joblib import cpu_count

from cifar_tune.data.depth import Span
from cifar_tune.data.image_reading import Fact
from cifar_tune.errors import Problem
from cifar_tune.model_files.loading import SavedModel
from cifar_tune.prediction.inputs import GivenImage
from cifar_tune.prediction.reading import ImageReader

_MOST_THREADS = 16

_AT_A_TIME_ON_CPU = 64
"""Images that the network sees at once on a CPU: what it makes of more does not stay in the cache of a core."""

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the model says of some images.

    Attributes:
        images: n images that could be read, in the order in which they were given.
        probabilities: float32 [n, classes]: the softmax of the logits.
        unreadable: the other images, each with what is wrong.
        facts: what people may want to know of each of the n images.
        alone: those of the n images that have more than 8 bits per channel, where no training image had.
    """

    images: list[GivenImage]
    probabilities: npt.NDArray[np.float32]
    unreadable: list[tuple[GivenImage, Problem]]
    facts: list[frozenset[Fact]]
    alone: list[GivenImage]


def reader_of(model: SavedModel) -> ImageReader:
    """Reads images as the training of the model did."""
    description = model.description
    ranges = {kind: Span(*span) for kind, span in description.ranges.items()}
    return ImageReader(description.image_shape[1], ranges, description.resize)


def predict_images(
    model: SavedModel, reader: ImageReader, images: Sequence[GivenImage], batch_size: int, progress: Progress
) -> Iterator[Predictions]:
    """Predict images, and yield what came out of each batch, in the order of the images.

    Every thread reads a batch and runs the model on it, so that reading one batch and running another overlap, and all
    cores have work. The model runs with the number of threads that it was trained with in each of them: then its
    figures are those of the training.

    Args:
        model: on its device.
        reader: reads the images as the model's training did.
        images: what to look at.
        batch_size: images per batch at most; fewer where there would be less than one batch for each thread.
        progress: told after each batch.
    """
    threads = min(int(cpu_count()), _MOST_THREADS)
    size = max(1, min(batch_size, -(-len(images) // threads)))
    is_over = Event()

    def predict(start: int) -> Predictions:
        found = reader.read(images[start : start + size], is_over)
        return Predictions(
            found.images, _probabilities(model, found.pixels), found.unreadable, found.facts, found.alone
        )

    pool = ThreadPoolExecutor(threads, initializer=model.configure_process)
    done = 0
    try:
        for predictions in pool.map(predict, range(0, len(images), size)):
            done += len(predictions.images) + len(predictions.unreadable)
            progress(done, len(images))
            yield predictions
    finally:
        is_over.set()  # an interruption waits for no image but those that are being read
        pool.shutdown(cancel_futures=True)


@torch.inference_mode()
def _probabilities(model: SavedModel, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Of images uint8 [n, S, S, 3]: float32 [n, classes]."""
    if not len(pixels):
        return np.empty((0, len(model.classes)), dtype=np.float32)
    device = model.scale.device
    images = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
    parts = torch.split(images, _AT_A_TIME_ON_CPU if device.type == "cpu" else len(images))
    probabilities: npt.NDArray[np.float32] = torch.cat([model(part).softmax(1) for part in parts]).cpu().numpy()
    return probabilities
