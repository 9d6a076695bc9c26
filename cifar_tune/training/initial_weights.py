"""Weights that a training begins with instead of random ones (knob `init_from`)."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import read_regular
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.initial_weights import TIMM, WeightsSource, weights_source
from cifar_tune.models.build import build_to_be_counted
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

_SHAPELESS = ("dropout", "init", "output_scale", "whitening_bias_epochs", "zero_init_residual")
"""Knobs of models that change no tensor."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Weights to begin with.

    Attributes:
        name: of where they are from, for people.
        weights: by the names of the network's state.
        classes: that they were trained for; None where nobody knows.
        train: the knobs that they were trained with; empty where nobody knows.
    """

    name: str
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None
    train: Mapping[str, object] = field(default_factory=dict)


def load_initial_weights(
    model: nn.Module, config: Configuration, image_shape: ImageShape, classes: Sequence[str] | None
) -> str:
    """Give the model the weights that the configuration names; where it names none, it stays as it is.

    All tensors must fit, but for the last layer: where it is made for another number of classes, or for classes of
    other names, it stays as it was drawn from the seed.

    Args:
        model: new.
        config: what is trained.
        image_shape: (3, H, W).
        classes: their names; None where nobody knows them.

    Returns:
        That the last layer is new, and why, without a full stop; empty where it is not.

    Raises:
        UserError: the weights are not there, have changed since the study began, or are those of another network.
    """
    given = _given(config, image_shape)
    if given is None:
        return ""
    own = model.state_dict()
    kept, words = _new_head(model, given, classes)
    _require_fit(own, given, kept, config)
    model.load_state_dict({**given.weights, **{key: own[key] for key in kept}})
    return words


def initial_weights_words(
    configs: Iterable[Configuration], image_shape: ImageShape, classes: Sequence[str]
) -> Iterator[str]:
    """What `load_initial_weights` would return, or raise, for each configuration, without models that take memory.

    Files are read once.

    Args:
        configs: what may be trained.
        image_shape: (3, H, W).
        classes: their names.
    """
    known: dict[tuple[object, object], _Given | None] = {}
    for config in configs:
        source = (config[_KNOB], config.get("timm_name"))
        if source not in known:
            known = {source: _given(config, image_shape)}  # the newest alone: weights may be large
        given = known[source]
        if given is not None:
            model = build_to_be_counted(config, image_shape, len(classes))
            kept, words = _new_head(model, given, classes)
            _require_fit(model.state_dict(), given, kept, config)
            yield words


def _given(config: Configuration, image_shape: ImageShape) -> _Given | None:
    value = config.text(_KNOB)
    source = weights_source(value)
    if source is not None:
        described = _described_beside(source.file)
        return _Given(source.path, _from_file(source), *described)
    if value == TIMM:
        name = config.text("timm_name")
        return _Given(f"timm's {name}", published_weights(image_shape, name=name))
    return None


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


def _described_beside(file: Path) -> tuple[tuple[str, ...] | None, Mapping[str, object]]:
    """The classes and the knobs that the model folder of the file names; None and nothing without a description."""
    try:
        description = read_regular(file.with_name(_DESCRIPTION), _MOST_OF_DESCRIPTION, follow_links=True)
        described = json.loads(description)
        return tuple(str(name) for name in described["classes"]), dict(described.get("train", {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, {}


def _new_head(model: nn.Module, given: _Given, classes: Sequence[str] | None) -> tuple[Set[str], str]:
    """The tensors of the last layer, where it cannot be taken over, and why."""
    own, head = model.state_dict(), _last_layer(model)
    layer = next(iter(head)).rpartition(".")[0] if head else ""
    wrong = [key for key in own if key in head and _differs(own, given.weights, key)]
    if any(key not in given.weights for key in wrong):
        reason = f"{given.name} has none"
    elif wrong:
        theirs, ours = (len(each[wrong[0]]) for each in (given.weights, own))
        reason = f"that of {given.name} is for {theirs} classes, and the data have {ours}"
    elif classes and given.classes and given.classes != tuple(classes):
        other = next(name for name in given.classes if given.classes.index(name) >= len(classes)
                     or classes[given.classes.index(name)] != name)  # fmt: skip
        reason = f"that of {given.name} is for other classes, such as {other}, or for these in another order"
    else:
        return set(), ""
    return head, f"the last layer{f' ({layer})' if layer else ''} begins with random weights: {reason}"


def _require_fit(own: Mapping[str, Tensor], given: _Given, kept: Set[str], config: Configuration) -> None:
    """See that all tensors but those that are kept can be taken over.

    Raises:
        UserError: saying which knobs differ, where a model folder tells, and which tensors.
    """
    wrong = [key for key in own if key not in kept and _differs(own, given.weights, key)]
    wrong += [key for key in given.weights if key not in own]
    wrong += [key for key in of_another_kind(own, given.weights, exactly=False) if key not in (*kept, *wrong)]
    if not wrong:
        return
    shown = ", ".join(_tensor_words(key, own, given.weights) for key in wrong[:_NAMED])
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    knobs = _differing_knobs(given.train, config)
    if knobs:
        theirs = " and ".join(f"{name} {value}" for name, (value, _) in knobs.items())
        ours = " and ".join(f"{name} {value}" for name, (_, value) in knobs.items())
        rule = f"{given.name} holds the weights of a network with {theirs}, and this one has {ours}"
        raise UserError(Problem(f"{rule}; these tensors differ: {shown}{more}", _KNOB))
    rule = (
        f"{given.name} holds the weights of another network: {shown}{more}. model, width, norm and the like must be "
        f"those that it was trained with"
    )
    raise UserError(Problem(rule, _KNOB))


def _differing_knobs(theirs: Mapping[str, object], config: Configuration) -> dict[str, tuple[object, object]]:
    """The knobs that build the network and differ: their value and ours."""
    names = [name for name in ("model", *config.part("model").arguments) if name not in _SHAPELESS]
    pairs = {name: (theirs[name], config[name]) for name in names if name in theirs and name in config}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _tensor_words(key: str, own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    if key not in weights:
        return f"{key} (missing there)"
    if key not in own:
        return f"{key} (not in this network)"
    there, here = ("x".join(map(str, each[key].shape)) or "a number" for each in (weights, own))
    if there == here:
        there, here = (str(each[key].dtype).removeprefix("torch.") for each in (weights, own))
    return f"{key} ({there} there, {here} here)"


def _differs(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], key: str) -> bool:
    return key not in weights or weights[key].shape != own[key].shape


def _last_layer(model: nn.Module) -> set[str]:
    """The names of the tensors of the last layer that has weights."""
    last = [name for name, module in model.named_modules() if any(True for _ in module.parameters(recurse=False))][-1]
    return {f"{last}.{name}" if last else name for name in model.get_submodule(last).state_dict()}
