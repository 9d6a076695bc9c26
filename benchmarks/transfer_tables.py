"""Small tasks on which one grid of configurations is trained once, so that searches can be replayed at no cost.

Every task has the same search space: optimizer, learning rate, batch size and norm. The learning rate is a range for
searches, and its accuracies are interpolated between the rates that were trained.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.images import Images
from cifar_tune.data.prepared import prepare
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.spec import DataSpec
from cifar_tune.files import replace_file
from cifar_tune.knobs.configuration import Configuration, complete
from cifar_tune.knobs.part import Value
from cifar_tune.training.failures import Diverged
from cifar_tune.training.loop import Training

RATES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
_CHOICES: Mapping[str, tuple[Value, ...]] = {
    "optimizer": ("sgd", "adamw"),
    "batch_size": (64, 256),
    "norm": ("none", "batch"),
}
SEARCH_SPACE: Mapping[str, Any] = {
    **{name: {"choices": list(choices)} for name, choices in _CHOICES.items()},
    "lr": {"low": RATES[0], "high": RATES[-1], "log": True},
}
_PIXELS = 16
_CHANCE = 0.1
"""Validation accuracy of a training that diverged: there are ten classes."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained: images of CIFAR-10, or the digits, so many of them, and the fixed knobs."""

    images: int
    is_digits: bool
    train: Mapping[str, Value]


def _task(images: int, model: str, width: int, epochs: int, *, is_digits: bool = False) -> Task:
    return Task(images, is_digits, {"model": model, "width": width, "epochs": epochs, "precision": "fp32"})


TASKS: Mapping[str, Task] = {
    "CIFAR": _task(2000, "cnn3", 8, 3),
    "CIFAR, width 4": _task(2000, "cnn3", 4, 3),
    "CIFAR, 1,000 images": _task(1000, "cnn3", 8, 3),
    "CIFAR, 1 epoch": _task(2000, "cnn3", 8, 1),
    "CIFAR, tutorial_net": _task(2000, "tutorial_net", 6, 3),
    "digits": _task(1000, "cnn3", 8, 2, is_digits=True),
    "digits, width 4": _task(1000, "cnn3", 4, 2, is_digits=True),
    "digits, tutorial_net": _task(1000, "tutorial_net", 6, 2, is_digits=True),
}


class Table:
    """The validation accuracies of a task.

    Args:
        accuracies: by choices and rate, as `trained` gives them.
    """

    def __init__(self, accuracies: Mapping[str, float]) -> None:
        self._accuracies = accuracies
        self._logs = [math.log(rate) for rate in RATES]

    @property
    def best(self) -> float:
        """The best accuracy of the grid."""
        return max(self._accuracies.values())

    def accuracy(self, config: Configuration) -> float:
        """Of a configuration of the search space; linear in the logarithm of the rate between trained ones."""
        choices = [config[name] for name in _CHOICES]
        levels = [self._accuracies[_key(*choices, rate)] for rate in RATES]
        return float(np.interp(math.log(config.number("lr")), self._logs, levels))


def _key(*values: Value) -> str:
    return " ".join(map(str, values))


def read_tables(file: Path, images: Images) -> dict[str, Table]:
    """The tables of all tasks. What `file` does not hold yet is trained, task by task, and written there."""
    found: dict[str, dict[str, float]] = json.loads(file.read_text()) if file.exists() else {}
    for name, task in TASKS.items():
        if name not in found:
            print(f"training: {name}", flush=True)
            found[name] = trained(task, images)
            replace_file(file, json.dumps(found))
    return {name: Table(accuracies) for name, accuracies in found.items() if name in TASKS}


def trained(task: Task, images: Images) -> dict[str, float]:
    """The validation accuracy of each configuration of the grid, after one training of it."""
    device = torch.device("cpu")
    sized = DataSpec(name="digits", train_size=task.images, val_size=400)
    if not task.is_digits:
        sized = images.sized(task.images, 1500)
    data = ResidentData(prepare(sized.model_copy(update={"image_size": _PIXELS})), device)
    found = {}
    for *choices, rate in product(*_CHOICES.values(), RATES):
        config = complete({**task.train, **dict(zip(_CHOICES, choices, strict=True)), "lr": rate})
        try:
            accuracy = [result.val_accuracy for result in Training(config, data, device).epochs()][-1]
        except Diverged:
            accuracy = _CHANCE
        found[_key(*choices, rate)] = accuracy
    return found
