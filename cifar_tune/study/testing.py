"""What is kept of the one look at the test images: enough for every report, so that none has to look again."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from cifar_tune.statistics.calibration import reliability
from cifar_tune.statistics.predictions import Predictions
from cifar_tune.storage.analyses import Analysis, Mistake
from cifar_tune.visible import visible

_MISTAKES = 24
"""So many are kept, as many as a picture shows."""

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


def _picture(pixels: npt.NDArray[np.uint8]) -> str:
    image, content = Image.fromarray(pixels), BytesIO()
    kind = "png" if max(image.size) <= _EXACT else "jpeg"
    if kind == "png":
        image.save(content, format="PNG", optimize=True)
    else:
        image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        image.save(content, format="JPEG", quality=_QUALITY)
    return f"data:image/{kind};base64,{b64encode(content.getvalue()).decode()}"
