"""From a model folder back to a network that takes images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image
from torch import Tensor, nn

from cifar_tune.data.depth import Span
from cifar_tune.data.image_reading import preprocessed
from cifar_tune.data.normalization import Normalization
from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.model_files.configuration import read_configuration
from cifar_tune.model_files.description import DESCRIPTION_FILE, WEIGHTS_FILE, ModelDescription
from cifar_tune.model_files.reading import read_description, read_weights
from cifar_tune.models.build import FollowsEpochs, build_model, build_to_be_counted, can_be_counted_without_memory
from cifar_tune.paths import given_path
from cifar_tune.plugins.execute import plugin_errors_told
from cifar_tune.training.device import autocast, configure, precision_elsewhere, resolve_device
from cifar_tune.training.evaluation import View, mean_logits
from cifar_tune.training.weights_file import of_another_kind, parse_weights

__all__ = ["SavedModel", "load_model", "read_description"]

_LARGEST_BYTE = 255.0
_NAMED = 3
"""Weights that do not fit and are named; the others are counted."""

_SLACK = 0.01
"""How far floats may lie outside of [0, 1]: resizing by others may overshoot a little."""


class SavedModel(nn.Module):
    """A trained model that takes images as they are. It normalises them, with the views and precision of its test.

    Attributes:
        network: the bare network; takes normalised images, float32 [N, 3, H, W].
        classes: names; logit i belongs to `classes[i]`.
        preprocess: changes an image of any size and mode as training changed its images: to uint8 [3, H, W].
        description: everything that `model.json` says.
        configuration: every knob of the training.
        precision: the precision of the network; you may change it.
        scale, shift: float32 [3]; the network gets byte * scale + shift.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self, network: nn.Module, description: ModelDescription, configuration: Configuration, precision: str
    ) -> None:
        super().__init__()
        self.network = network
        self.classes = description.classes
        self.description = description
        self.configuration = configuration
        self.precision = precision
        self.preprocess: Callable[[Image.Image], Tensor] = _Preprocess(description)
        self.register_buffer("scale", torch.tensor(description.scale, dtype=torch.float32), persistent=False)
        self.register_buffer("shift", torch.tensor(description.shift, dtype=torch.float32), persistent=False)
        name = configuration.text("test_time_augmentation")
        self._views: tuple[View, ...] = TEST_TIME_AUGMENTATIONS[name].resolve()()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Args:
            images: [N, 3, H, W], uint8, or floats in [0, 1].

        Returns:
            float32 [N, classes].

        Raises:
            ValueError: the images have another shape or type, or floats beyond [0, 1].
        """
        normalized = self.normalize(images)
        with autocast(self.precision, normalized.device):
            return mean_logits(self.network, self._views, normalized)

    def normalize(self, images: Tensor) -> Tensor:
        """The images as the network gets them: float32 [N, 3, H, W], channels_last.

        Raises:
            ValueError: as `forward`.
        """
        rows = self._in_bytes(images).permute(0, 2, 3, 1).contiguous()
        return Normalization(self.scale, self.shift).apply(rows)

    def configure_process(self) -> None:
        """Set threads, arithmetic and rounding of tiny numbers as the training did, for the whole process.

        Figures are the same to the last digit only with these settings and with batches of 500.
        """
        config = self.configuration.replaced(precision=self.precision)
        configure(config, self.scale.device)

    def _in_bytes(self, images: Tensor) -> Tensor:
        expected = self.description.image_shape
        if images.dim() != 4 or tuple(images.shape[1:]) != expected:
            words = f"[N, {', '.join(map(str, expected))}]"
            raise ValueError(f"images must have the shape {words}, not {list(images.shape)}; see model.preprocess")
        if images.dtype == torch.uint8:
            return images
        if not images.is_floating_point():
            raise ValueError(f"images must be uint8, or floats in [0, 1], not {images.dtype}")
        if not torch.compiler.is_compiling() and len(images):
            low, high = (float(each) for each in images.detach().aminmax())
            if not (low >= -_SLACK and high <= 1 + _SLACK):
                raise ValueError(
                    f"floats must be in [0, 1], and these go from {low:.4g} to {high:.4g}: give bytes as uint8, and "
                    f"images that are not normalised"
                )
        return images.float() * _LARGEST_BYTE


def load_model(folder: str | Path, device: str | torch.device = "cpu", *, run_plugins: bool = False) -> SavedModel:
    """Load the model that `cifar-tune finalize` or `cifar-tune train --save` wrote.

    No pickle is read. Code of the folder runs only if you allow it: if the network is a part of a plugin, the plugin's
    files must run, and `run_plugins` allows that. Files that have already run in this process need no permission.

    Args:
        folder: the model folder.
        device: such as `cpu`, `cuda` or `auto`.
        run_plugins: whether plugin files of the folder may run; see what is in them first.

    Returns:
        The model in evaluation mode, on the device; its weights do not require gradients.

    Raises:
        UserError: there is no such folder or device, a file is missing or damaged, a newer version wrote it, or
            plugin files would have to run.
        CheckError: the code of a plugin fails.
    """
    path = given_path(folder, "FOLDER")
    description = read_description(path)
    place = resolve_device(str(device))
    configuration = read_configuration(path, description, run_plugins)
    weights = _parsed(path, read_weights(path, description))
    with plugin_errors_told(configuration.vocabulary.plugins):
        network = _built(path, description, configuration, weights)
    precision = precision_elsewhere(description.precision, description.device, place)
    model = SavedModel(network, description, configuration, precision).eval().requires_grad_(False)
    return cast(SavedModel, cast(Any, model).to(place, memory_format=torch.channels_last))


class _Preprocess:
    """Pickles, so that data loaders of several processes can use it."""

    def __init__(self, description: ModelDescription) -> None:
        self._size = description.image_shape[1]
        self._resize = description.resize
        self._ranges = {kind: Span(*span) for kind, span in description.ranges.items()}

    def __call__(self, image: Image.Image) -> Tensor:
        if not isinstance(image, Image.Image):
            raise TypeError(
                f"preprocess takes an image of Pillow, not {type(image).__name__}: "
                f'model.preprocess(Image.open("photo.jpg"))'
            )
        pixels = preprocessed(image, self._size, self._ranges, self._resize)
        return torch.tensor(pixels).permute(2, 0, 1).contiguous()


def _parsed(folder: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return parse_weights(content)
    except ValueError as error:
        raise UserError(Problem(f"is damaged: it {error}", source=str(folder / WEIGHTS_FILE))) from error


def _built(
    folder: Path, description: ModelDescription, configuration: Configuration, weights: dict[str, Tensor]
) -> nn.Module:
    shape, classes = description.image_shape, len(description.classes)
    if can_be_counted_without_memory(configuration):  # a description that lies can ask for any amount of memory
        _require_fit(folder, description, build_to_be_counted(configuration, shape, classes), weights)
    with torch.random.fork_rng(devices=[]):
        network = build_model(configuration, shape, classes)
    _require_fit(folder, description, network, weights)
    if isinstance(network, FollowsEpochs):
        network.begin_epoch(description.epochs)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:300]
        raise _misfit(folder, description, said) from error
    return network


def _require_fit(
    folder: Path, description: ModelDescription, network: nn.Module, weights: Mapping[str, Tensor]
) -> None:
    """See that the weights are those of the network, by names, shapes and types.

    Raises:
        UserError: they are not; names the first ones that do not fit.
    """
    own = network.state_dict()
    faults = [f"{name} is missing" for name in own if name not in weights]
    faults += [f"{name} belongs to no layer of it" for name in weights if name not in own]
    faults += [
        f"{name} has the shape {list(weights[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    faults += [
        f"{name} holds {weights[name].dtype} instead of {own[name].dtype}".replace("torch.", "")
        for name in of_another_kind(own, weights, exactly=True)
    ]
    if faults:
        left = len(faults) - _NAMED
        raise _misfit(folder, description, "; ".join(faults[:_NAMED]) + (f"; and {left} more" if left > 0 else ""))


def _misfit(folder: Path, description: ModelDescription, said: str) -> UserError:
    rule = f"does not fit the network {description.architecture.model!r} that {DESCRIPTION_FILE} describes: {said}"
    return UserError(Problem(rule, source=str(folder / WEIGHTS_FILE)))
