"""Going on from a checkpoint: strictly, so that a state that is not the training's own is refused.

A file may be whole, carry the right configuration, and still hold something else. PyTorch's own loading is strict about
the weights of a model alone: it takes moments of any shape, and whatever a scheduler is given.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cifar_tune.knobs.part import Part
from cifar_tune.training.checkpoint import CheckpointError, load
from cifar_tune.training.failures import is_device_lost, is_out_of_memory
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training

_UNUSABLE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""Errors that loading a state raises if the state makes no sense."""

_BYTES_BESIDE = 2**30
_COPIES = 100


def go_on(training: Training, path: Path, plugins: Sequence[str] = (), contents: Sequence[str] = ()) -> None:
    """Load the checkpoint of an interrupted training.

    Args:
        training: new. After an error it cannot be used any more: build another one.
        path: of the checkpoint.
        plugins: as `load` takes them.
        contents: likewise.

    Raises:
        CheckpointError: there is none, or it is not of this training; says what is wrong.
    """
    state = load(path, training.config, training.data.fingerprint, plugins, largest(training), contents)
    try:
        problem = _problem(training, state)
        if not problem:
            training.load_state_dict(state)
    except _UNUSABLE as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        problem = str(error).partition("\n")[0][:200]
    if problem:
        raise CheckpointError(f"it does not fit the training: {problem}")


def largest(training: Training) -> int:
    """Bytes that a checkpoint of this training may have.

    Averages and moments are copies of the weights, four at most of the optimizers here; one out of a plugin may keep a
    long history of gradients.
    """
    weights: int = sum(
        tensor.numel() * tensor.element_size() for tensor in training.learner.model.state_dict().values()
    )
    return _BYTES_BESIDE + _COPIES * weights


def _problem(training: Training, state: Mapping[str, Any]) -> str | None:
    """The first place at which the state is not built as the training's own."""
    learner, config = training.learner, training.config
    optimizer_is_ours = _is_ours(config.part("optimizer"))
    if optimizer_is_ours:
        _make_moments(learner)
    expected = learner.state_dict()
    moments = expected.pop("optimizer")
    if not _is_ours(config.part("schedule")):
        del expected["schedule"]
    problems = (_difference(state.get(name), wanted, name) for name, wanted in expected.items())
    problem = next((problem for problem in problems if problem), None)
    if problem or not optimizer_is_ours:
        return problem
    # All weights of our models get gradients in the first epoch, if ever.
    has_idle_weights = "timm_name" in config or not _is_ours(config.part("model"))
    return _difference_of_moments(state.get("optimizer"), moments, "optimizer", has_idle_weights)


def _is_ours(part: Part) -> bool:
    """What one out of a plugin keeps, and from which step on, only itself knows."""
    return isinstance(part.target, str)


def _difference_of_moments(found: Any, expected: Mapping[str, Any], path: str, has_idle_weights: bool) -> str | None:
    """As `_difference`, of the states of two optimizers, or of several by name.

    Of a weight that never got a gradient there are no moments.
    """
    if not isinstance(found, Mapping) or found.keys() != expected.keys():
        return f"{path} has other entries"
    if "param_groups" not in expected:
        names = ((found[name], expected[name], f"{path}.{name}") for name in expected)
        return next((problem for each in names if (problem := _difference_of_moments(*each, has_idle_weights))), None)
    moments = expected["state"]
    if has_idle_weights and isinstance(found["state"], Mapping):
        moments = {weight: each for weight, each in moments.items() if weight in found["state"]}
    problem = _difference(found, {**expected, "state": moments}, path)
    if problem is None and _weights(found) != _weights(expected):
        problem = f"{path}.param_groups has other weights"
    return problem


def _weights(state: Mapping[str, Any]) -> list[list[int]]:
    return [group["params"] for group in state["param_groups"]]


def _make_moments(learner: Learner) -> None:
    """Let the optimizer make the moments of all weights that are learned, by a step on gradients of zero.

    `torch.distributed.checkpoint` does so before it loads an optimizer. The weights may move: they are loaded next.
    """
    learner.begin_epoch(1)
    for weight in learner.model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    learner.optimizer.step()
    learner.optimizer.zero_grad()


def _difference(found: object, expected: object, path: str) -> str | None:
    """The first place at which two states are built differently; None if there is none. Values do not count."""
    match expected:
        case Tensor():
            if not isinstance(found, Tensor):
                return f"{path} is no tensor"
            if found.layout != torch.strided or found.is_meta or found.is_quantized:
                return f"{path} is an unusual tensor"
            if found.shape != expected.shape or found.dtype != expected.dtype:
                return f"{path} is {_words(found)} instead of {_words(expected)}"
            return None
        case Mapping():
            if not isinstance(found, Mapping) or found.keys() != expected.keys():
                return f"{path} has other entries"
            pairs = [(f"{path}.{key}", found[key], expected[key]) for key in expected]
        case list() | tuple():
            if not isinstance(found, list | tuple) or len(found) != len(expected):
                return f"{path} has another length"
            pairs = [(f"{path}[{index}]", *both) for index, both in enumerate(zip(found, expected, strict=True))]
        case bool() | str():
            # None: an option of an optimizer that is decided for each device
            return None if found is None or type(found) is type(expected) else f"{path} is something else"
        case int() | float():
            is_number = isinstance(found, int | float) and not isinstance(found, bool)
            return None if is_number else f"{path} is no number"
        case _:  # None: not decided at the beginning, such as the best loss so far
            return f"{path} is something else" if isinstance(found, Tensor | Mapping | list | tuple) else None
    return next((problem for where, ours, theirs in pairs if (problem := _difference(ours, theirs, where))), None)


def _words(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}".removeprefix("torch.")
