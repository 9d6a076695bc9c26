"""Trains a tiny configuration, and writes down everything that a knob can change."""

from dataclasses import dataclass, field, fields
from typing import Any

import pytest
import torch
from torch import Tensor

from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training import device, graphs
from cifar_tune.training.loop import Training

CPU = torch.device("cpu")


@dataclass
class Seen:
    """What a training shows from outside.

    Attributes:
        shapes: of the learned parameters.
        initial: parameters before the first step.
        images, labels: every training batch.
        rates: the different learning rates of each step.
        losses: of each step.
        weights: parameters after the last step.
        statistics: buffers after the last step, such as the running means of batch norms.
        judged: validation loss and accuracy of each epoch.
        epochs: how many there were.
        threads: of torch in each step.
        compiled: forward passes that went through `torch.compile`.
        captured: whether the steps would be captured on a GPU.
        repeatable: whether algorithms would be repeatable ones on a GPU.
        parts: into which each batch was split.
        ending: `done`, or the error that ended the training.
    """

    shapes: list[torch.Size]
    initial: list[Tensor]
    images: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    rates: list[set[float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    statistics: list[Tensor] = field(default_factory=list)
    judged: list[tuple[float, float]] = field(default_factory=list)
    epochs: int = 0
    threads: list[int] = field(default_factory=list)
    compiled: int = 0
    captured: bool = False
    repeatable: list[bool] = field(default_factory=list)
    parts: int = 1
    ending: str = "done"

    def differences(self, other: "Seen") -> set[str]:
        """The names of what is not the same, bit for bit."""
        return {each.name for each in fields(self) if not _same(getattr(self, each.name), getattr(other, each.name))}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def train_and_see(
    config: Configuration, data: ResidentData, patch: pytest.MonkeyPatch, most_images: int | None = None
) -> Seen:
    """Train the configuration to its end.

    Args:
        config: what is trained.
        data: its images.
        patch: undone by the caller.
        most_images: how many images of a step the memory holds; None: all.
    """
    compiled = 0

    def compile_nothing(model: Any, **_: object) -> Any:
        def forward(images: Tensor) -> Tensor:
            nonlocal compiled
            compiled += 1
            logits: Tensor = model(images)
            return logits

        return forward

    patch.setattr(torch, "compile", compile_nothing)
    patch.setattr(graphs, "CudaGraphs", lambda gpu: gpu)
    training = Training(config, data, CPU)
    learner = training.learner
    seen = Seen([w.shape for w in learner.model.parameters()], _copies(learner.model.parameters()))
    seen.captured = graphs.graphs_on(torch.device("cuda"), config) is not None
    with patch.context() as on_gpu:
        on_gpu.setattr(device, "resolve_precision", lambda *_: "fp32")
        on_gpu.setattr(device, "set_float32_arithmetic", lambda *_: None)
        on_gpu.setattr(device, "bind", lambda _: None)
        on_gpu.setattr(device, "choose_algorithms", seen.repeatable.append)
        device.configure(config, torch.device("cuda"))
    step, forward = learner.train_step, learner._forward

    def seen_step(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        seen.images.append(images.clone())
        seen.labels.append(labels.clone())
        seen.rates.append({group["lr"] for group in learner.optimizer.param_groups})
        seen.threads.append(torch.get_num_threads())
        loss, right = step(images, labels)
        seen.losses.append(loss.item())
        return loss, right

    def limited(images: Tensor) -> Tensor:
        if most_images is not None and len(images) > most_images:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(images)

    patch.setattr(learner, "train_step", seen_step)
    patch.setattr(learner, "_forward", limited)
    try:
        for result in training.epochs():
            seen.judged.append((result.val_loss, result.val_accuracy))
    except torch.OutOfMemoryError as error:
        seen.ending = type(error).__name__
    seen.weights = _copies(learner.model.parameters())
    seen.statistics = _copies(learner.model.buffers())
    seen.epochs, seen.parts, seen.compiled = len(training.results), learner.accumulation.parts, compiled
    return seen


def _copies(tensors: Any) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]
