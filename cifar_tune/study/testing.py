"""What is kept of the one look at the test images: enough for every report, so that none has to look again."""

import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.knobs.metrics import VALIDATION
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.statistics.calibration import reliability
from cifar_tune.statistics.network_accuracy import network_accuracy
from cifar_tune.statistics.predictions import Predictions
from cifar_tune.storage.analyses import Analysis, Mistake
from cifar_tune.training.metrics import Measures
from cifar_tune.visible import visible

_TEST = "test_"

_MISTAKES = 24
"""This many are kept, as many as a picture shows."""

_EXACT = 32
"""Pixels of a side up to which a picture is kept bit for bit; larger ones are kept small, as JPEG."""

_LARGEST = 64
_QUALITY = 85


def analysed(predictions: Predictions, images: npt.NDArray[np.uint8], paths: Sequence[str]) -> Analysis:
    """What is kept of the predictions.

    Args:
        predictions: on the test images.
        images: these, uint8 [N, H, W, 3].
        paths: of their files below `data.root`; empty where they have none.
    """
    confusion = predictions.confusion()
    predicted, confidence = predictions.predicted, predictions.confidence
    mistakes = [
        Mistake(
            image=position,
            path=visible(paths[position]) if paths else None,
            true=int(predictions.labels[position]),
            predicted=int(predicted[position]),
            probability=float(confidence[position]),
            picture=_picture(images[position]),
        )
        for position in predictions.mistakes()[:_MISTAKES].tolist()
    ]
    return Analysis(
        classes=tuple(visible(name) for name in predictions.classes),
        counts=tuple((int(row), int(column), int(confusion[row, column])) for row, column in np.argwhere(confusion)),
        bins=tuple(reliability(confidence, predicted == predictions.labels)),
        mistakes=tuple(mistakes),
    )


def further_metrics(
    names: Sequence[str], vocabulary: Vocabulary, predictions: Predictions, say: Callable[[str], None]
) -> dict[str, float]:
    """The metrics that a study looks at beside loss and accuracy, on its test images.

    The test set is open by then, and there is no second look: what goes wrong with one of them costs that one alone.

    Args:
        names: of the metrics, such as `val_macro_f1`.
        vocabulary: of what was trained; it has the code of plugins.
        predictions: on the test images.
        say: receives a sentence for each that has no number here.

    Returns:
        The value of each by its name on the test set, such as `test_macro_f1`.
    """
    probabilities = predictions.probabilities.astype(np.float64)
    found: dict[str, float] = {}
    for name in names:
        here = f"{_TEST}{name.removeprefix(VALIDATION)}"
        try:
            values = Measures([name], vocabulary).of_probabilities(probabilities, predictions.labels)
        except Exception as error:  # noqa: BLE001 (whatever the code of a plugin raises)
            say(f"note: there is no {here}: {error}")
        else:
            found[here] = values[name]
    return found


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """What a network gave on the test set.

    Attributes:
        seed: of its training.
        loss: mean cross entropy.
        accuracy: fraction of the images that is right.
        metrics: see `further_metrics`.
        predictions: that these come from.
    """

    seed: int
    loss: float
    accuracy: float
    metrics: Mapping[str, float]
    predictions: Predictions

    def plain(self) -> dict[str, float | None]:
        """As an opening keeps it."""
        loss = self.loss if math.isfinite(self.loss) else None
        return {"seed": self.seed, "test_loss": loss, "test_accuracy": self.accuracy}


def summed_up(networks: Sequence[NetworkResult]) -> dict[str, Any]:
    """The fields of an opening that hold the result of one network, or the means of several with their intervals."""
    loss = fmean(each.loss for each in networks)
    shared = [name for name in networks[0].metrics if all(name in each.metrics for each in networks)]
    fields: dict[str, Any] = {
        "test_loss": loss if math.isfinite(loss) else None,
        "test_accuracy": fmean(each.accuracy for each in networks),
        "test_metrics": {name: fmean(each.metrics[name] for each in networks) for name in shared},
    }
    if len(networks) == 1:
        return fields
    found = network_accuracy(np.stack([each.predictions.predicted == each.predictions.labels for each in networks]))
    return fields | {
        "networks": [each.plain() for each in networks],
        "new_images": list(found.new_images),
        "same_images": None if found.same_images is None else list(found.same_images),
    }


def _picture(pixels: npt.NDArray[np.uint8]) -> str:
    image, content = Image.fromarray(pixels), BytesIO()
    kind = "png" if max(image.size) <= _EXACT else "jpeg"
    if kind == "png":
        image.save(content, format="PNG", optimize=True)
    else:
        image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        image.save(content, format="JPEG", quality=_QUALITY)
    return f"data:image/{kind};base64,{b64encode(content.getvalue()).decode()}"
