"""`model.json`: everything that one needs to know about the weights beside them. Without torch."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cifar_tune import __version__
from cifar_tune.data.depth import Kind
from cifar_tune.data.spec import LARGEST_IMAGE, Resize
from cifar_tune.errors import Problem, UserError
from cifar_tune.visible import visible_json

FORMAT = "cifar-tune model"
FORMAT_VERSION = 1
"""Raise it when an older version of cifar-tune would misread a folder. New fields alone do not need that."""

DESCRIPTION_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
PLUGIN_FOLDER = "plugins"
MOST_BYTES = 50_000_000
"""Of `model.json`. A confusion matrix of 1,000 classes takes 3 MB."""

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_NO_TEXT = re.compile("[\ud800-\udfff]")

Split = Literal["validation", "test"]

WeightsOf = Literal["the last step", "the moving average", "the schedule-free average"]


class _Entry(BaseModel):
    # what a later version adds is left out here: a change that matters raises FORMAT_VERSION
    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null", use_attribute_docstrings=True
    )


class Metric(_Entry):
    """A figure that was measured on the weights of the folder."""

    value: float | None
    """None where it is not finite."""

    low: float | None = None
    high: float | None = None
    """The 95 % interval; of an accuracy Wilson's, for other images of the same kind."""

    images: Annotated[int, Field(ge=1)]
    split: Split


class Check(_Entry):
    """Loss and accuracy on the validation split of the training, whether it was trained on or not."""

    images: Annotated[int, Field(ge=1)]
    loss: float | None
    accuracy: Annotated[float, Field(ge=0, le=1)]
    trained_on: bool
    """True of a model that was trained on all images: then these figures say nothing of new images."""


class PluginCopy(_Entry):
    """A plugin file that was in use, and its copy in the folder."""

    path: str
    """As the study file names it."""

    file: str
    """The copy, below the folder."""

    sha256: str

    module: str = ""
    """Of an installed plugin the module, which must be installed where the model is loaded. The copy is for reading."""

    described: dict[str, Any]
    """Its parts and knobs, as `cifar_tune.plugins.description` has them: enough to read the configuration."""

    @field_validator("file")
    @classmethod
    def _lies_in_the_folder(cls, file: str) -> str:
        parts = PurePosixPath(file).parts
        if len(parts) < 2 or parts[0] != PLUGIN_FOLDER or ".." in parts or "\\" in file or not file.isprintable():
            raise ValueError(f"must be a file below {PLUGIN_FOLDER}/, without `..`")
        return file


class Architecture(_Entry):
    """The network."""

    model: str
    builds: str
    """What builds it, as `module:name`; of a part of a plugin the plugin's path and the name."""

    arguments: dict[str, Any]
    parameters: int
    """Learned ones."""


class Origin(_Entry):
    """How the model was chosen."""

    command: Literal["train", "finalize"]
    study: str | None = None
    chosen: Literal["best", "race", "trial", "config"] | None = None
    """The best trial, the winner of a race, a trial by its number, or a configuration from a file."""

    trial: int | None = None
    source: str | None = None
    """The configuration file."""

    objective: str | None = None
    """The metric that trials were ranked by."""

    objective_value: float | None = None
    """Of the trial in the study, on the validation split."""

    race_value: float | None = None
    """The same metric in the mean of the fresh trainings by which the trial won a race; None without one."""

    images: Literal["all", "study"] | None = None
    """Of finalize: trained on all images that are not test images, or on those of the study alone."""

    finished_trials: int | None = None
    """Trials among which it was chosen."""

    test_openings: int = 0
    """How often the study's test set has been opened, this time included."""

    test_fingerprint: str | None = None
    """Of the test images then (`test_fingerprint` of an opening); None where an earlier version opened it."""

    opened: str | None = None
    """When it was opened for this model, ISO 8601 in UTC."""

    networks: int | None = None
    """How many networks of the configuration were tested together, of which this is the first; None for one alone."""

    failed_networks: int = 0
    """How many further networks could not be trained, such as ones that diverged; others took their places."""

    mean_test_accuracy: float | None = None
    """Of these networks: what finalize and the report give as the result of the configuration."""

    mean_interval: tuple[float, float] | None = None
    """Its 95 % interval for new images and new seeds."""

    @property
    def mean_words(self) -> str:
        """The figure of all networks that were tested together, as a sentence; empty where one was tested alone."""
        if self.networks is None or self.mean_test_accuracy is None:
            return ""
        words = (
            f"The test gave the mean of {self.networks} networks of this configuration: {self.mean_test_accuracy:.6g}"
        )
        if self.mean_interval is not None:
            low, high = self.mean_interval
            words += f" (95 % interval for new images and new seeds {low:.4f} to {high:.4f})"
        if self.failed_networks:
            words += (
                f". Besides, {self.failed_networks} of {self.failed_networks + self.networks} trainings did not come "
                f"to their end, and are not in it"
            )
        return f"{words}. That is the figure to publish; this model is the first of them by its seed."


class ModelDescription(_Entry):
    """What a model folder says about its weights."""

    format: Literal["cifar-tune model"] = "cifar-tune model"
    format_version: int = FORMAT_VERSION
    cifar_tune: str = __version__
    created: str
    """ISO 8601 in UTC."""

    licence: str | None = None
    """For whoever shares the model to write."""

    weights_sha256: str
    weights_of: WeightsOf
    test_time_augmentation: str
    """`none`, or which views of each image the logits are the mean of."""

    precision: str
    """That the model was evaluated in: `fp32`, `tf32`, `bf16` or `fp16`."""

    device: str
    """That it was trained and evaluated on."""

    classes: tuple[str, ...]
    """Logit i belongs to `classes[i]`."""

    image_shape: tuple[int, int, int]
    """(3, H, W)."""

    resize: Resize = "squash"
    """How images that are not square become square."""

    ranges: dict[Kind, tuple[float, float]] = {}
    """Which values become 0 to 255, of images with more than 8 bits per channel; empty where none was trained on."""

    mean: tuple[float, ...]
    std: tuple[float | None, ...]
    """Per channel (red, green, blue), of images in [0, 1]. None where all training images have the same value: such a
    channel is left out (`scale` 0)."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    """The same as it is computed: the network gets byte * scale + shift, exact as float32."""

    data: dict[str, Any]
    """The `data` part of the configuration."""

    train: dict[str, Any]
    """The `train` part: every knob, with `precision` as it came out."""

    plugins: tuple[PluginCopy, ...] = ()
    architecture: Architecture
    seed: int
    epochs: Annotated[int, Field(ge=1)]
    """Trained ones."""

    train_images: int
    fingerprint: str
    """Of the training and validation images, `PreparedData.fingerprint`."""

    split_sha256: str
    """Of the indices of both splits (`split_sha256`)."""

    origin: Origin
    metrics: dict[str, Metric] = {}
    """By name, such as `val_accuracy` or `test_accuracy`. Empty: nothing was measured yet."""

    check: Check | None = None
    """A figure that needs no test image, for whoever wants to see whether the same comes out on another machine."""

    confusion: tuple[tuple[int, ...], ...] | None = None
    """How many images of each class (row) were taken for each class (column), of the split of the metrics."""

    val_losses: tuple[float, ...] = ()
    """Of a model that was trained without validation: the losses of the trial, one per epoch. Schedule plateau was told
    them again."""

    environment: dict[str, str | int] = {}
    """Versions and hardware."""

    packages: dict[str, str] = {}
    """The versions of the packages that the training had loaded."""

    @model_validator(mode="after")
    def _fits_itself(self) -> "ModelDescription":
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ValueError("classes must be different names, at least one")
        if any(_NO_TEXT.search(name) for name in self.classes):
            raise ValueError("classes must be text")
        if self.image_shape[1] != self.image_shape[2] or self.image_shape[1] > LARGEST_IMAGE:
            raise ValueError(f"image_shape must be that of square images of up to {LARGEST_IMAGE:,} pixels")
        if any(abs(number) > _LARGEST_FLOAT32 for number in (*self.scale, *self.shift)):
            raise ValueError("scale and shift must be numbers that float32 can hold")
        if any(low > high for low, high in self.ranges.values()):
            raise ValueError("ranges must go from the smaller to the larger value")
        for name, value, said in self._said_twice():
            if name in self.train and self.train[name] != value:
                raise ValueError(f"{said} is {value!r}, and train.{name} {self.train[name]!r}: both must be the same")
        if self.val_losses and len(self.val_losses) != self.epochs:
            raise ValueError("val_losses must have one for each epoch")
        if len({copy.path for copy in self.plugins}) < len(self.plugins):
            raise ValueError("plugins must have different paths")
        channels = {len(each) for each in (self.mean, self.std, self.scale, self.shift)}
        if channels != {3} or self.image_shape[0] != 3 or min(self.image_shape) < 1:
            raise ValueError("image_shape, mean, std, scale and shift must be those of images with 3 channels")
        if self.confusion is not None and {len(self.classes)} != {len(self.confusion), *map(len, self.confusion)}:
            raise ValueError("confusion must have a row and a column for each class")
        return self

    def _said_twice(self) -> tuple[tuple[str, object, str], ...]:
        """Knobs that have a field of their own, its value, and its name."""
        return (
            ("model", self.architecture.model, "architecture.model"),
            ("precision", self.precision, "precision"),
            ("seed", self.seed, "seed"),
            ("test_time_augmentation", self.test_time_augmentation, "test_time_augmentation"),
        )

    @property
    def accuracy(self) -> Metric | None:
        """The test accuracy, or else the validation accuracy."""
        return self.metrics.get("test_accuracy") or self.metrics.get("val_accuracy")

    def text(self) -> str:
        """The content of `model.json`."""
        plain = json.dumps(self.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
        return visible_json(plain) + "\n"


def parse_description(text: bytes, source: str) -> ModelDescription:
    """Read the content of a `model.json`.

    Args:
        text: the content.
        source: the file, for messages.

    Raises:
        UserError: it is damaged, or something else than a model of cifar-tune, or a newer version wrote it.
    """
    try:
        plain = parse_json(text)
    except ValueError as error:  # also bytes that are no text
        raise UserError(Problem(f"is damaged: it is no JSON ({error})", source=source)) from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise UserError(Problem("was not written by cifar-tune: it describes no model of ours", source=source))
    require_known_version(plain, FORMAT_VERSION, source)
    try:
        return ModelDescription.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise UserError(Problem(f"is damaged: {said}", place or None, source=source)) from error


def parse_json(text: bytes) -> Any:
    """What is in a JSON file of others, as the standard has it: every number is finite.

    Raises:
        ValueError: it is no JSON; says why.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def require_known_version(plain: Mapping[str, Any], newest: int, source: str) -> None:
    """See that no newer version of cifar-tune wrote a file.

    Args:
        plain: its content, with `format_version` and `cifar_tune`.
        newest: version of the format that is known here.
        source: the file, for messages.

    Raises:
        UserError: a newer one did, or nobody can tell.
    """
    version = plain.get("format_version")
    if type(version) is not int or version < 1:
        rule = f"is damaged: must be a whole number, the version of the format, and not {version!r}"
        raise UserError(Problem(rule, "format_version", source=source))
    if version > newest:
        rule = (
            f"was written by cifar-tune {plain.get('cifar_tune')}, in version {version} of the format, and cifar-tune "
            f"{__version__} reads versions up to {newest}: install a newer cifar-tune"
        )
        raise UserError(Problem(rule, source=source))


def split_sha256(train: npt.NDArray[np.int64], val: npt.NDArray[np.int64]) -> str:
    """SHA-256 in hex of which images are in which split.

    Args:
        train: int64 [T], indices of the training images among all images that are not test images.
        val: int64 [V], those of the validation images.
    """
    digest = hashlib.sha256()
    for indices in (train, val):
        digest.update(len(indices).to_bytes(8))
        digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()
