"""Pictures of the test set: classes, calibration and mistakes. They show what the newest opening kept."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from cifar_tune.errors import DamagedError
from cifar_tune.plotting import class_pictures
from cifar_tune.plotting.class_pictures import ShownMistake
from cifar_tune.reports.report import Report
from cifar_tune.reports.tested import newest_analysis, of_network
from cifar_tune.storage.analyses import Analysis, Mistake


def _images(report: Report) -> str:
    """What the images are, and of which network the answers."""
    found = newest_analysis(report)
    network = of_network(found[0]) if found else ""
    return f"test images, {network}" if network else "test images"


def draw_classes(report: Report) -> Figure | str:
    """Draw the accuracy of each class and the confusion matrix."""
    analysis = _analysis(report)
    return class_pictures.draw_classes(analysis.classes, analysis.confusion, _images(report))


def draw_calibration(report: Report) -> Figure | str:
    """Draw the reliability diagram."""
    return class_pictures.draw_reliability(_analysis(report).bins, _images(report))


def draw_mistakes(report: Report) -> Figure | str:
    """Draw the most confident mistakes."""
    analysis = _analysis(report)
    shown = [ShownMistake(_pixels(each), each.true, each.predicted, each.probability) for each in analysis.mistakes]
    return class_pictures.draw_mistakes(
        analysis.classes, shown, analysis.wrong, int(analysis.confusion.sum()), _images(report)
    )


def _analysis(report: Report) -> Analysis:
    found = newest_analysis(report)
    if found is None:
        raise LookupError("no opening has an analysis")
    return found[1]


def _pixels(mistake: Mistake) -> npt.NDArray[np.uint8]:
    """Its picture, uint8 [H, W, 3]."""
    try:
        with Image.open(BytesIO(b64decode(mistake.picture.partition(",")[2]))) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise DamagedError(f"the database holds no picture of test image {mistake.image}, but other bytes") from error
