"""What a converted file says about itself."""

import json

from cifar_tune import __version__
from cifar_tune.conversion.exported import INPUT, OUTPUT
from cifar_tune.conversion.formats import Weights
from cifar_tune.model_files.description import ModelDescription

OURS = "cifar_tune"
"""The key that says that a file is one of ours; its value is the version that wrote it."""


def metadata_of(description: ModelDescription, weights: Weights, with_preprocessing: bool) -> dict[str, str]:
    """Plain strings by their names, and JSON where a value has parts.

    Args:
        description: of the model.
        weights: their type in the file.
        with_preprocessing: whether the file normalises the images.
    """
    size = ", ".join(map(str, description.image_shape))
    if with_preprocessing:
        takes = f"{INPUT}: uint8 [batch, {size}], red, green and blue, 0 to 255"
        inside = "the normalisation is inside; reading, turning and resizing image files is not"
    else:
        takes = f"{INPUT}: float32 [batch, {size}], red, green and blue, normalised: byte * scale + shift"
        inside = "nothing is inside: images must be read, resized and normalised before"
    return {
        OURS: __version__,
        "input": takes,
        "output": f"{OUTPUT}: float32 [batch, {len(description.classes)}]",
        "preprocessing": inside,
        "resize": description.resize,
        "weights": weights,
        "classes": json.dumps(description.classes, ensure_ascii=False),
        "scale": json.dumps(description.scale),
        "shift": json.dumps(description.shift),
        "description": json.dumps(description.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":")),
    }
