"""Weights that a training begins with instead of random ones (knob `init_from`)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import read_regular
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.initial_weights import TIMM, WeightsSource, weights_source
from cifar_tune.models.layers import ImageShape
from cifar_tune.models.stages import Stage, stages_of
from cifar_tune.models.timm_model import published_weights
from cifar_tune.paths import PathError
from cifar_tune.training.weights_file import MOST_BYTES, of_another_kind, parse_weights

_KNOB = "init_from"
_NAMED = 3
"""Tensors that are named where the weights are those of another network."""

_DESCRIPTION = "model.json"
_MOST_OF_DESCRIPTION = 50_000_000


def load_initial_weights(
    model: nn.Module, config: Configuration, image_shape: ImageShape, classes: Sequence[str] | None
) -> None:
    """Give the model the weights that the configuration names; where it names none, it stays as it is.

    All tensors must fit, but for the last layer: where it is made for another number of classes, or for classes of
    other names, it stays as it was drawn from the seed.

    Args:
        model: new.
        config: what is trained.
        image_shape: (3, H, W).
        classes: their names; None where nobody knows them.

    Raises:
        UserError: the weights are not there, have changed since the study began, or are those of another network.
    """
    value = config.text(_KNOB)
    source = weights_source(value)
    if source is not None:
        weights = _from_file(source)
        trained_on = _classes_beside(source.file)
    elif value == TIMM:
        weights = published_weights(image_shape, name=config.text("timm_name"))
        trained_on = None
    else:
        return
    _take_over(model, weights, value.partition("@")[0], is_other=bool(classes and trained_on and trained_on != classes))


def frozen_stages(model: nn.Module, config: Configuration) -> list[Stage]:
    """The stages that keep their weights, already frozen.

    Raises:
        UserError: no stage is left to learn.
    """
    count = config.integer("frozen_stages")
    if not count:
        return []
    stages = stages_of(model)
    if count >= len(stages):
        rule = f"must be below {len(stages)}, the number of stages of this network: at least the last one must learn"
        raise UserError(Problem(rule, "frozen_stages", count))
    freeze(stages[:count])
    return stages[:count]


def freeze(stages: Sequence[Stage]) -> None:
    """Let stages keep weights and running statistics, whatever the rest of the model does."""
    for stage in stages:
        for parameter in stage.parameters:
            parameter.requires_grad_(False)
        for module in stage.modules:
            module.eval()


def _from_file(source: WeightsSource) -> dict[str, Tensor]:
    try:
        content = read_regular(source.file, MOST_BYTES, follow_links=True)
    except (OSError, PathError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(Problem(f"{source.path} cannot be read ({reason})", _KNOB)) from error
    found = hashlib.sha256(content).hexdigest()
    if found != source.sha256:
        rule = (
            f"{source.path} has changed: its sha256 is {found}, and the configuration was made for {source.sha256}. "
            f"Put the old file back, or begin a new study with the new one"
        )
        raise UserError(Problem(rule, _KNOB))
    try:
        return parse_weights(content)
    except ValueError as error:
        raise UserError(Problem(f"{source.path} {error}", _KNOB)) from error


def _classes_beside(file: Path) -> tuple[str, ...] | None:
    """The classes that the model folder of the file names; None where there is no such description."""
    try:
        description = read_regular(file.with_name(_DESCRIPTION), _MOST_OF_DESCRIPTION, follow_links=True)
        classes = json.loads(description)["classes"]
        return tuple(str(name) for name in classes)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _take_over(model: nn.Module, weights: Mapping[str, Tensor], name: str, is_other: bool) -> None:
    own = model.state_dict()
    head = _last_layer(model)
    kept = {key for key in own if key in head and (is_other or _differs(own, weights, key))}
    if kept:
        kept = {key for key in own if key in head}
    wrong = [key for key in own if key not in kept and _differs(own, weights, key)]
    wrong += [key for key in weights if key not in own]
    wrong += [key for key in of_another_kind(own, weights, exactly=False) if key not in (*kept, *wrong)]
    if wrong:
        shown = ", ".join(wrong[:_NAMED]) + (f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else "")
        rule = (
            f"{name} holds the weights of another network: {shown} do not fit. model, width, norm, activation and the "
            f"like must be those that it was trained with"
        )
        raise UserError(Problem(rule, _KNOB))
    model.load_state_dict({**weights, **{key: own[key] for key in kept}})


def _differs(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], key: str) -> bool:
    return key not in weights or weights[key].shape != own[key].shape


def _last_layer(model: nn.Module) -> set[str]:
    """The names of the tensors of the last layer that has weights."""
    last = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))][-1]
    return {f"{last}.{name}" if last else name for name in model.get_submodule(last).state_dict()}
