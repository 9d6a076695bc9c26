"""Whether the state in a checkpoint is of the shape that a training has, so that it can go on from there.

A file may be whole, carry the right configuration, and still hold something else. It is looked at before anything of
the training is changed: what does not fit is left alone, and the trial starts again.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cifar_tune.data.batches import steps_per_epoch
from cifar_tune.knobs.plugin import plugins_in_force
from cifar_tune.training.checkpoint import CheckpointError
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training

_OPTIMIZER = "optimizer"
_UNUSABLE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)
"""What numbers that make no sense lead to inside of optimizers and schedules."""


def require_fit(training: Training, state: Mapping[str, Any]) -> None:
    """Compare the state with that of a training that has begun, and take a step from it; all on the CPU, on a copy.

    Raises:
        CheckpointError: naming what does not fit.
    """
    learner = _after_a_step(training)
    expected = learner.state_dict()
    if any(training.config.text(_OPTIMIZER) in plugin.parts.get(_OPTIMIZER, {}) for plugin in plugins_in_force()):
        del expected[_OPTIMIZER]  # what a user's own one keeps, and from which step on, only itself knows
    for name, wanted in expected.items():
        problem = _difference(state.get(name), wanted, name)
        if problem:
            raise CheckpointError(f"it does not fit the training: {problem}")
    try:
        learner.load_state_dict(state)
        _step(learner, training)
        learner.schedule.after_epoch(1.0)
    except _UNUSABLE as error:
        raise CheckpointError(f"no step can be taken from it: {str(error).partition(chr(10))[0]:.200}") from error


def _after_a_step(training: Training) -> Learner:
    """The same training after its first step: an optimizer makes its moments there, of what it trains."""
    # on the CPU there is room for it beside the training, and in fp32 every CPU can take it
    config = training.config.replaced(compile=False, precision="fp32")
    steps = steps_per_epoch(training.data.train_size, config.integer("batch_size"))
    learner = Learner(config, training.data.image_shape, len(training.data.classes), torch.device("cpu"), steps)
    learner.begin_epoch(1)
    _step(learner, training)
    return learner


def _step(learner: Learner, training: Training) -> None:
    images = torch.zeros(2, *training.data.image_shape).contiguous(memory_format=torch.channels_last)
    learner.train_step(images, torch.zeros(2, dtype=torch.int64))


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
