"""Writes a trained model into a folder: weights, description, card and plugin files, all of them or nothing."""

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from cifar_tune import __version__
from cifar_tune.data.normalization import normalization
from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import CheckError, Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.model_files.description import (
    DESCRIPTION_FILE,
    MOST_BYTES,
    PLUGIN_FOLDER,
    WEIGHTS_FILE,
    Architecture,
    Check,
    Metric,
    ModelDescription,
    Origin,
    PluginCopy,
    Split,
    parse_description,
    split_sha256,
)
from cifar_tune.model_files.folder import place
from cifar_tune.model_files.reading import read_file
from cifar_tune.plugins.description import described
from cifar_tune.statistics.shares import wilson
from cifar_tune.study_spec.specification import plain_values
from cifar_tune.training.device import environment
from cifar_tune.training.loop import Training

_LARGEST_BYTE = 255


@dataclass(frozen=True)
class Chosen:
    """What the training itself does not know of its model.

    Attributes:
        data: where the images come from.
        prepared: the training and validation images, before the two were merged.
        epochs: trained ones.
        origin: how it was chosen.
        check: its figures on the validation split, where they are known.
        val_losses: that took the place of a validation (`train_without_validation`).
    """

    data: DataSpec
    prepared: PreparedData
    epochs: int
    origin: Origin
    check: Check | None = None
    val_losses: Sequence[float] = ()


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the weights.

    Attributes:
        split: of which images.
        images: how many.
        loss: mean cross entropy.
        accuracy: fraction that is right.
        confusion: how many images of each class (row) were taken for each class (column).
        others: further figures by name, such as `val_macro_f1`.
    """

    split: Split
    images: int
    loss: float
    accuracy: float
    confusion: Sequence[Sequence[int]] | None = None
    others: Mapping[str, float] = field(default_factory=dict)


def write_model_folder(
    folder: Path, training: Training, chosen: Chosen, evaluation: Evaluation | None = None
) -> ModelDescription:
    """Write the weights that are evaluated, and everything about them; a model of ours that is there is replaced.

    Args:
        folder: made where it is not there; holds nothing, or a model of ours.
        training: done.
        chosen: what it does not know.
        evaluation: None where nothing was measured yet; `add_evaluation` adds it.

    Returns:
        What `model.json` says now.

    Raises:
        UserError: the folder holds something else, or cannot be written.
        CheckError: the model of a plugin keeps something that is no tensor.
    """
    learner = training.learner
    weights = save(_tensors(learner.evaluated_network), metadata={"format": "pt"})
    plugins = [plugin for plugin in training.config.vocabulary.plugins if plugin.file is not None]
    copies = {plugin.path: _copy(plugin) for plugin in plugins}
    config = training.config.replaced(precision=training.precision)
    scale, shift = (tuple(float(value) for value in each.tolist()) for each in _scale_and_shift(training))
    description = ModelDescription(
        created=_now(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        weights_of=learner.evaluated_weights,
        test_time_augmentation=config.text("test_time_augmentation"),
        precision=training.precision,
        device=str(training.device),
        classes=training.data.classes,
        image_shape=training.data.image_shape,
        resize=chosen.prepared.resize,
        ranges={kind: (span.low, span.high) for kind, span in chosen.prepared.ranges.items()},
        mean=tuple(-b / a / _LARGEST_BYTE if a else 0.0 for a, b in zip(scale, shift, strict=True)),
        std=tuple(1 / a / _LARGEST_BYTE if a else None for a in scale),
        scale=scale,
        shift=shift,
        data=chosen.data.model_dump(mode="json"),
        train=plain_values(config),
        plugins=tuple(copies.values()),
        architecture=_architecture(config, training.parameters),
        seed=config.integer("seed"),
        epochs=chosen.epochs,
        train_images=training.data.train_size,
        fingerprint=chosen.prepared.fingerprint,
        split_sha256=split_sha256(chosen.prepared.train_indices, chosen.prepared.val_indices),
        origin=chosen.origin,
        check=chosen.check,
        val_losses=tuple(chosen.val_losses),
        packages=_loaded_packages(),
        environment={"cifar_tune": __version__, **environment(training.device)},
        **_measured(evaluation),
    )
    sources = {copies[plugin.path].file: _bytes_of(plugin) for plugin in plugins}
    place(folder, description, {WEIGHTS_FILE: weights, **sources})
    return description


def add_evaluation(
    folder: Path, description: ModelDescription, origin: Origin, evaluation: Evaluation
) -> ModelDescription:
    """Write down what was measured on the weights that were written.

    Args:
        folder: where they are.
        description: as `write_model_folder` returned it.
        origin: takes the place of the old one.
        evaluation: what was measured.

    Raises:
        UserError: the folder cannot be written, or holds another model by now.
    """
    path = folder / DESCRIPTION_FILE
    present = parse_description(read_file(path, MOST_BYTES), str(path))
    if present.weights_sha256 != description.weights_sha256:
        rule = "now holds another model, which another process has written; the figures were not added"
        raise UserError(Problem(rule, source=str(folder)))
    added = description.model_copy(update={"origin": origin, **_measured(evaluation)})
    place(folder, added, {})
    return added


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Its state on the CPU, each tensor with memory of its own.

    Raises:
        CheckError: there is something in it that is no tensor, as a plugin's model may have it.
    """
    state: Mapping[str, Any] = network.state_dict()
    odd = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if odd:
        raise CheckError(
            f"the model keeps something that is no tensor ({odd[0]}), which no safetensors file can hold: take "
            f"get_extra_state out of the plugin's model"
        )
    return {name: _own(value) for name, value in state.items()}


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


@torch.no_grad()
def _scale_and_shift(training: Training) -> tuple[Tensor, Tensor]:
    made = normalization(training.config, training.data)
    return made.scale.cpu(), made.shift.cpu()


def _architecture(config: Configuration, parameters: int) -> Architecture:
    part = config.part("model")
    name = config.text("model")
    owner = next((each for each in config.vocabulary.plugins if name in each.parts.get("model", {})), None)
    builds = part.target if isinstance(part.target, str) else f"{owner.path if owner else '?'}:{name}"
    arguments = {
        argument: value if isinstance(value, bool | int | float | str) else str(value)
        for argument, value in part.arguments_from(config).items()
    }
    return Architecture(model=name, builds=builds, arguments=arguments, parameters=parameters)


def _measured(evaluation: Evaluation | None) -> dict[str, Any]:
    if evaluation is None:
        return {"metrics": {}, "confusion": None}
    prefix = "test" if evaluation.split == "test" else "val"

    def metric(value: float, low: float | None = None, high: float | None = None) -> Metric:
        shown = value if math.isfinite(value) else None
        return Metric(value=shown, low=low, high=high, images=evaluation.images, split=evaluation.split)

    low, high = wilson(evaluation.accuracy, evaluation.images)
    metrics = {
        **{name: metric(value) for name, value in evaluation.others.items()},
        f"{prefix}_accuracy": metric(evaluation.accuracy, low, high),
        f"{prefix}_loss": metric(evaluation.loss),
    }
    rows = evaluation.confusion
    confusion = None if rows is None else tuple(tuple(int(count) for count in row) for row in rows)
    return {"metrics": metrics, "confusion": confusion}


def _loaded_packages() -> dict[str, str]:
    """The version of every installed package of which this process has imported something."""
    imported = {name.partition(".")[0] for name in sys.modules}
    names = {package for module, packages in _installed().items() if module in imported for package in packages}
    return {name: version(name) for name in sorted(names, key=str.lower)}


@cache
def _installed() -> Mapping[str, list[str]]:
    """Which packages each module is from. Looking that up reads the lists of files of all that is installed."""
    return packages_distributions()


def _copy(plugin: Plugin) -> PluginCopy:
    module = plugin.file.module if plugin.file else ""
    name = f"{plugin.path}.py" if module else plugin.path.replace("\\", "_")  # a separator on other systems
    file = (PurePosixPath(PLUGIN_FOLDER) / name).as_posix()
    digest = hashlib.sha256(_bytes_of(plugin)).hexdigest()
    known = {key: value for key, value in described(plugin).items() if key != "folder"}  # of this machine alone
    return PluginCopy(path=plugin.path, file=file, sha256=digest, module=module, described=known)


def _bytes_of(plugin: Plugin) -> bytes:
    """The content of its file as it was read, to the byte."""
    source = plugin.file.source if plugin.file else ""
    if plugin.file and plugin.file.module:  # its digest is that of the whole package
        return source.encode()
    for encoding in ("utf-8", "utf-8-sig"):  # the mark at the beginning is not part of the text
        content = source.encode(encoding)
        if hashlib.sha256(content).hexdigest() == plugin.sha256:
            return content
    raise CheckError(f"{plugin.path}: its text is not what was read")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
