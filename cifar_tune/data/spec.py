"""The `data` part of a study file: which images, how large, and how they are split."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

SMALLEST_IMAGE = 8
LARGEST_IMAGE = 256
CIFAR10_IMAGE = 32

Resize = Literal["squash", "crop", "pad"]
"""How an image that is not square becomes square (`cifar_tune.data.resizing`)."""


BEFORE_THERE_WAS_RESIZE: Resize = "squash"
"""What was done to images before one could choose. Studies and exported configurations from then keep it."""


class DataSpec(BaseModel):
    """Where the images come from and how they are split into training, validation and test images.

    A rule that joins two fields is reported at the field that has to change.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, use_attribute_docstrings=True
    )

    name: Literal["cifar10", "image_folder", "digits"] = "cifar10"
    """The source: the official CIFAR-10 archive, a folder of image files, or scikit-learn's embedded digits."""

    root: str | None = Field(default=None, min_length=1)
    """Its folder. cifar10: where the archive lies or is downloaded to, by default `data`. image_folder: the folder
    that holds `train/<class>/` and, where there are such, `val/<class>/` and `test/<class>/`; required. digits takes
    none."""

    ignore: tuple[str, ...] | None = None
    """image_folder: folders in `root` that are not read, such as `[test]`. Without a folder for the test, a sixth of
    the training images is held out for it; without one for validation, that split is drawn from them."""

    image_size: int = Field(default=CIFAR10_IMAGE, ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)
    """Height and width of the images in pixels; images of other sizes are resized. cifar10 has 32 only."""

    resize: Resize | None = None
    """image_folder: how images that are not square become square. `squash` changes their proportions, `crop` cuts the
    square out of their middle, `pad` keeps all of them and fills the rest with grey. By default the training images
    decide: if all have one shape, they are squashed; else they are cropped, or padded where more than one in twenty is
    longer than 2:1. `check` says which shapes there are, and what is done."""

    val_size: int | None = Field(default=None, ge=1)
    """Images in the validation split. By default a tenth of the images that are not test images (5,000 of CIFAR-10's
    50,000), but at least one per class. Where the images come with a validation split (a folder `val`), all of it by
    default, else so many images of it."""

    train_size: int | None = Field(default=None, ge=1)
    """Train on this many images only, stratified by class. By default on all that are in neither other split."""

    split_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Draws the validation split and the images of `train_size`. The test split does not depend on it."""

    download: bool = True
    """cifar10: download the archive where it is not there."""

    @property
    def can_be_resized(self) -> bool:
        """Whether images may have other shapes than square, so that `resize` makes a difference."""
        return self.name not in ("cifar10", "digits")

    @field_validator("root")
    @classmethod
    def _root_belongs_to_the_source(cls, root: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if name == "image_folder" and root is None:
            raise ValueError("image_folder needs the folder that holds train/<class>/")
        if name == "digits" and root is not None:
            raise ValueError("digits are embedded and take no folder: leave root out")
        return root

    @field_validator("ignore", mode="before")
    @classmethod
    def _names_as_a_tuple(cls, ignore: object) -> object:
        if isinstance(ignore, str):
            ignore = [ignore]
        return (tuple(ignore) or None) if isinstance(ignore, list | tuple) else ignore

    @field_validator("ignore")
    @classmethod
    def _only_image_folder_has_folders(
        cls, ignore: tuple[str, ...] | None, info: ValidationInfo
    ) -> tuple[str, ...] | None:
        if ignore and info.data.get("name") in ("cifar10", "digits"):
            raise ValueError("only image_folder has folders to ignore: leave it out")
        return ignore

    @field_validator("resize")
    @classmethod
    def _only_files_have_other_shapes(cls, resize: Resize | None, info: ValidationInfo) -> Resize | None:
        if resize and info.data.get("name") in ("cifar10", "digits"):
            raise ValueError("these images are square already: leave resize out")
        return resize

    @field_validator("image_size")
    @classmethod
    def _cifar10_is_not_resized(cls, image_size: int, info: ValidationInfo) -> int:
        if info.data.get("name") == "cifar10" and image_size != CIFAR10_IMAGE:
            raise ValueError(f"cifar10 has images of {CIFAR10_IMAGE} pixels: leave image_size out")
        return image_size


def as_before_resize(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A complete `data` section as it was stored; one without `resize` is older than that, and means squash."""
    has_choice = "resize" in data or data.get("name") != "image_folder"
    return data if has_choice else {**data, "resize": BEFORE_THERE_WAS_RESIZE}
