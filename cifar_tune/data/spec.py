"""The `data` part of a study file: which images, how large, and how they are split."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from cifar_tune.data.source_table import SOURCES
from cifar_tune.errors import enumerate_names

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

    name: str = "cifar10"
    """Where the images come from."""

    root: str | None = Field(default=None, min_length=1)
    """Where the images are. cifar10 and the data sets of torchvision: their folder, by default `data`. image_folder:
    the folder that holds `train/<class>/` and, if you have them, `val/<class>/` and `test/<class>/`. table: the CSV or
    Parquet file. arrays: the `.npz` file, or the folder with the `.npy` files. digits takes none."""

    ignore: tuple[str, ...] | None = None
    """image_folder: folders in `root` that are not read, such as `[test]`. Without a folder for the test, a sixth of
    the training images is held out for it; without one for validation, that split is drawn from them."""

    path_column: str | None = Field(default=None, min_length=1)
    """table: the column with the paths of the images, relative to the folder of the table. By default `path`."""

    label_column: str | None = Field(default=None, min_length=1)
    """table: the column with the labels. By default `label`."""

    split_column: str | None = Field(default=None, min_length=1)
    """table: the column that says train, val or test. By default `split`, if there is such a column. Without rows
    for the test, a sixth of the training images is held out for it; without rows for validation, that split is drawn
    from them."""

    image_size: int = Field(default=CIFAR10_IMAGE, ge=SMALLEST_IMAGE, le=LARGEST_IMAGE)
    """Height and width of the images in pixels; images of other sizes are resized. cifar10 has 32 only."""

    resize: Resize | None = None
    """How images become square; if all are square, this changes nothing. `squash` changes their proportions, `crop`
    cuts the square out of their middle, `pad` keeps all of them and fills the rest with grey. By default the training
    images decide: if all have one shape, they are squashed. Otherwise they are cropped, or padded if more than one in
    twenty is longer than 2:1. `check` says which shapes there are, and what is done."""

    val_size: int | None = Field(default=None, ge=1)
    """Images in the validation split. By default a tenth of the images that are not test images (5,000 of CIFAR-10's
    50,000), but at least one per class. If the images come with a validation split (a folder `val`), this many images
    of it, by default all."""

    folds: int | None = Field(default=None, ge=2, le=100)
    """Cut the images that are not test images into this many equal parts with the classes in their proportions. One
    part validates, and the others train. Used instead of `val_size`; a validation split that the images come with is
    cut together with the rest. `repeats: {folds: 5}` trains each configuration on all of them."""

    fold: int | None = Field(default=None, ge=1)
    """Which of the `folds` validates, from 1. By default the first one."""

    train_size: int | None = Field(default=None, ge=1)
    """Train on this many images only, stratified by class. By default on all images that are in no other split."""

    split_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Draws the validation split and the images of `train_size`. The test split does not depend on it."""

    download: bool = True
    """cifar10 and the data sets of torchvision: download what is not there."""

    @property
    def can_be_resized(self) -> bool:
        """Whether images may have other shapes than square, so that `resize` makes a difference."""
        return SOURCES[self.name].has_shapes

    @field_validator("name", mode="before")
    @classmethod
    def _a_known_source(cls, name: object) -> object:
        if not isinstance(name, str) or name not in SOURCES:
            known = enumerate_names([f"'{each}'" for each in SOURCES])
            raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": known})
        return name

    @field_validator("root")
    @classmethod
    def _root_belongs_to_the_source(cls, root: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        entry = SOURCES.get(str(name))
        if entry is not None and entry.root == "required" and root is None:
            raise ValueError(f"{name} needs {entry.rooted}")
        if entry is not None and entry.root == "none" and root is not None:
            raise ValueError(f"{name} are embedded and take no folder: leave root out")
        return root

    @field_validator("path_column", "label_column", "split_column")
    @classmethod
    def _only_some_sources_take_it(cls, value: str | None, info: ValidationInfo) -> str | None:
        entry = SOURCES.get(str(info.data.get("name")))
        if value is not None and entry is not None and info.field_name not in entry.keys:
            takers = enumerate_names([name for name, each in SOURCES.items() if info.field_name in each.keys])
            raise ValueError(f"only {takers} takes it: leave {info.field_name} out")
        return value

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
        entry = SOURCES.get(str(info.data.get("name")))
        if ignore and entry is not None and "ignore" not in entry.keys:
            raise ValueError("only image_folder has folders to ignore: leave it out")
        return ignore

    @field_validator("folds")
    @classmethod
    def _folds_give_the_size(cls, folds: int | None, info: ValidationInfo) -> int | None:
        if folds is not None and info.data.get("val_size") is not None:
            raise ValueError("says how many images validate, and so does val_size: leave one of them out")
        return folds

    @field_validator("fold")
    @classmethod
    def _one_of_the_folds(cls, fold: int | None, info: ValidationInfo) -> int | None:
        folds = info.data.get("folds")
        if fold is not None and "folds" in info.data and (folds is None or fold > folds):
            raise ValueError("is one of the folds: folds says how many there are" if folds is None
                             else f"must be 1 to {folds}, one of the folds")  # fmt: skip
        return fold

    @field_validator("resize")
    @classmethod
    def _only_files_have_other_shapes(cls, resize: Resize | None, info: ValidationInfo) -> Resize | None:
        entry = SOURCES.get(str(info.data.get("name")))
        if resize and entry is not None and not entry.has_shapes:
            raise ValueError("these images are square already: leave resize out")
        return resize

    @field_validator("image_size")
    @classmethod
    def _some_are_not_resized(cls, image_size: int, info: ValidationInfo) -> int:
        name = str(info.data.get("name"))
        only = SOURCES[name].image_size if name in SOURCES else None
        if only is not None and image_size != only:
            raise ValueError(f"{name} has images of {only} pixels: leave image_size out")
        return image_size


def as_before_resize(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A complete `data` section as it was stored; one without `resize` is older than that, and means squash."""
    has_choice = "resize" in data or data.get("name") != "image_folder"
    return data if has_choice else {**data, "resize": BEFORE_THERE_WAS_RESIZE}
