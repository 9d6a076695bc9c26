"""Whether a model that a training begins with has already learned the images that the training is validated on."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.source_table import DEFAULT_ROOT
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.knobs.initial_weights import weights_source
from cifar_tune.model_files.description import DESCRIPTION_FILE, ModelDescription, split_sha256
from cifar_tune.model_files.reading import read_description
from cifar_tune.paths import PathError, expanded
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.wording import counted

_SPLIT = ("val_size", "train_size", "split_seed", "folds", "fold")
"""The settings that decide which images are in which split."""


def learned_images_warnings(
    values: Iterable[object], spec: DataSpec, data: PreparedData, validates_on_all: bool = False
) -> Iterator[str]:
    """Warnings about models that have seen validation or test images; sentences without a full stop.

    No test image is read, and no image is decoded again. The settings of the model's split are tried on the images
    here: the fingerprint in its `model.json` tells whether they are the same images, and the hash of its split whether
    they are split in the same way.

    Args:
        values: of the knob `init_from`. Values that name no model folder give no warning.
        spec: where the images come from.
        data: those images.
        validates_on_all: every image that is not a test image validates at some time, as with `repeats: {folds: 5}`.
    """
    validated = np.arange(len(data.labels)) if validates_on_all else data.val_indices
    for value in dict.fromkeys(str(value) for value in values):
        source = weights_source(value)
        if source is None:
            continue
        try:
            file = source.file
            if not (file.parent / DESCRIPTION_FILE).exists():
                continue
            description = read_description(file.parent)
        except (UserError, PathError, OSError):  # the training itself says what is wrong with the file
            continue
        if description.weights_sha256 == source.sha256:
            warning = _warning(source.path, description, spec, data, validated)
            if warning:
                yield warning


def study_warnings(spec: StudySpec, data: PreparedData) -> Iterator[str]:
    """The same for every value of `init_from` that a study can choose."""
    values = [outcome["init_from"] for outcome in spec.space.outcomes({"init_from"})]
    is_on_folds = spec.repeats is not None and spec.repeats.on_folds
    yield from learned_images_warnings(values, spec.data, data, is_on_folds)


def _warning(
    name: str, model: ModelDescription, spec: DataSpec, data: PreparedData, validated: npt.NDArray[np.int64]
) -> str:
    place = _shared_place(model.data, spec)
    split = _split_here(model, spec, place == "same")
    if split is not None:
        learned = _learned(model, split)
        both = len(np.intersect1d(learned, validated))
        if not both:
            return ""
        how = f"`{model.origin.command}` trained it on them"
        return (
            f"init_from {name} has learned {both:,} of the {counted(len(validated), 'validation image')} ({how}), so "
            f"the validation accuracy after it is too high and says nothing about new images. Use a model that was "
            f"trained on other images, or one of `cifar-tune train --save` with the same split"
        )
    if place:
        return (
            f"init_from {name} was trained on images of {model.data.get('root')} too, but the images or their split "
            f"have changed since. It may have learned validation or test images of this data, and their accuracy "
            f"would then be too high"
        )
    return ""


def _split_here(model: ModelDescription, spec: DataSpec, is_same_place: bool) -> PreparedData | None:
    """The images here, split as those of the model were; None where they are not the model's images."""
    settings = {key: model.data.get(key) for key in _SPLIT}
    settings["split_seed"] = settings["split_seed"] or 0
    try:
        theirs = DataSpec.model_validate({**spec.model_dump(), **settings, "download": False})
        split = prepare(theirs)
    except (UserError, ValidationError):  # too few images for it, so they are others
        return None
    if split.fingerprint == model.fingerprint:
        return split
    is_same_split = split_sha256(split.train_indices, split.val_indices) == model.split_sha256
    return split if is_same_place and is_same_split and split.classes == model.classes else None


def _learned(model: ModelDescription, split: PreparedData) -> npt.NDArray[np.int64]:
    """int64, the images that the model was trained on."""
    if model.origin.command == "train":
        return split.train_indices
    return split.merged(with_unused=model.origin.images == "all").train_indices


def _shared_place(theirs: Mapping[str, object], spec: DataSpec) -> str:
    """`same` where both read the same data set, `nested` where one folder lies in the other; else empty."""
    if spec.root is None and not theirs.get("root"):
        return "same" if theirs.get("name") == spec.name else ""
    try:
        ours, other = (Path(expanded(str(root or DEFAULT_ROOT))).resolve() for root in (spec.root, theirs.get("root")))
    except (PathError, OSError, ValueError):
        return ""
    if ours == other:
        return "same" if theirs.get("name") == spec.name else ""
    is_nested = theirs.get("name") == spec.name == "image_folder" and (ours in other.parents or other in ours.parents)
    return "nested" if is_nested else ""
