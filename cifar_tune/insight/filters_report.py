"""What a trained model looks at and gets wrong, as pictures, tables and JSON."""

from pathlib import Path

import torch
from matplotlib.figure import Figure

from cifar_tune.csv_text import csv_text
from cifar_tune.data.batches import validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.insight.activations import passage
from cifar_tune.insight.files import json_text, write
from cifar_tune.insight.filter_pictures import draw_feature_maps, draw_filters
from cifar_tune.insight.predictions import predict, validation_image
from cifar_tune.plotting.class_pictures import MISTAKES, ShownMistake, draw_classes, draw_mistakes, shown_names
from cifar_tune.statistics.predictions import Predictions, class_accuracies
from cifar_tune.training.loop import Training

_IMAGES = "validation images"


def write_filters(folder: Path, training: Training, position: int) -> tuple[Predictions, list[Path]]:
    """Write pictures of filters, feature maps, classes and mistakes, and the tables behind them.

    Args:
        folder: where.
        training: finished.
        position: of the image whose feature maps are drawn, in the validation split.

    Raises:
        UserError: they cannot be written.
    """
    predictions = predict(training)
    image = _normalised(training, position)
    way = passage(training.learner.evaluated, image)
    names = predictions.classes
    label, taken = predictions.labels[position], predictions.predicted[position]
    summary = {
        "val_accuracy": predictions.accuracy,
        "validation_images": len(predictions.labels),
        "mistakes": len(predictions.mistakes()),
        "first_layer": way.first_layer,
        "filters": None if way.filters is None else list(way.filters.shape),
        "stages": [{"layer": stage.layer, "shape": list(stage.maps.shape)} for stage in way.stages],
        "image": position,
        "path": training.data.validation_path(position),
        "config": training.config.stored(),
    }
    classes = [(name, images, right, right / images if images else None) for name, images, right in
               class_accuracies(names, predictions.confusion())]  # fmt: skip
    data = training.data
    has_paths = data.validation_path(position) is not None
    mistakes = [
        (
            index,
            *((data.validation_path(index),) if has_paths else ()),
            names[predictions.labels[index]],
            names[predictions.predicted[index]],
            float(predictions.probabilities[index].max()),
        )
        for index in predictions.mistakes().tolist()
    ]
    texts = {
        "filters.json": json_text(summary),
        "classes.csv": csv_text(("class", "images", "right", "accuracy"), classes),
        "confusion.csv": csv_text(
            ("true", *names), [(name, *row) for name, row in zip(names, predictions.confusion().tolist(), strict=True)]
        ),
        "mistakes.csv": csv_text(
            ("image", *(("path",) if has_paths else ()), "true", "predicted", "probability"), mistakes
        ),
    }
    shown, _ = shown_names(names)
    pixels = validation_image(training.data, position)
    pictures = {
        "filters.png": lambda: draw_filters(way),
        "feature_maps.png": lambda: draw_feature_maps(
            way, pixels, shown[label], shown[taken], float(predictions.probabilities[position].max())
        ),
        "classes.png": lambda: draw_classes(names, predictions.confusion(), _IMAGES),
        "mistakes.png": lambda: _draw_mistakes(predictions, training.data),
    }
    return predictions, write(folder, texts, pictures)


def _draw_mistakes(predictions: Predictions, data: ResidentData) -> Figure | str:
    wrong = predictions.mistakes()
    shown = [
        ShownMistake(
            validation_image(data, position),
            int(predictions.labels[position]),
            int(predictions.predicted[position]),
            float(predictions.confidence[position]),
        )
        for position in wrong[:MISTAKES].tolist()
    ]
    return draw_mistakes(predictions.classes, shown, len(wrong), len(predictions.labels), _IMAGES)


def _normalised(training: Training, position: int) -> torch.Tensor:
    """A validation image as the model sees it, float32 (1, 3, H, W)."""
    for images, _ in validation_batches(training.data, training.config):
        if position < len(images):
            return images[position : position + 1]
        position -= len(images)
    raise IndexError(position)
