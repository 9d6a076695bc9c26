"""The loss landscape as trainings at several learning rates see it.

After Santurkar, Tsipras, Ilyas and Madry, "How does batch normalization help optimization?", NeurIPS 2018
(arXiv:1805.11604): the same model is trained at each learning rate, from the same initial weights and on the same
batches. Where the band between the smallest and the largest loss of a step is narrow, the landscape is smooth: steps of
all these sizes lead downwards alike.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cifar_tune.data.batches import training_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.seeding import derive_seed
from cifar_tune.insight.gradient_trace import Change, GradientTrace
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.learner import Learner, build_learner


@dataclass(frozen=True, slots=True)
class LandscapeStep:
    """One step: the loss of its batch before the step was taken, and what the output layer's gradient shows."""

    loss: float
    change: Change


@dataclass(frozen=True, slots=True)
class LandscapeRun:
    """A training at one learning rate; one that `diverged` has fewer steps, all of them with a finite loss."""

    lr: float
    steps: tuple[LandscapeStep, ...]
    diverged: bool


@dataclass(frozen=True, slots=True)
class Landscape:
    """The trainings of one model; the `label` tells it from the other one."""

    label: str
    config: Configuration
    runs: tuple[LandscapeRun, ...]


def landscape_run(
    config: Configuration,
    data: ResidentData,
    device: torch.device,
    distances: Sequence[int],
    fixed_batch: bool,
    progress: Callable[[int, float], None],
) -> LandscapeRun:
    """Train at the configuration's `lr`, which stays the same throughout, and record every step.

    Without a warm-up, since step sizes are compared; in fp32, since nothing else has digits enough for the difference
    of two gradients that are close to each other.

    Args:
        config: what is trained.
        data: its images.
        device: where.
        distances: between the steps whose gradients are compared.
        fixed_batch: take the gradients on one and the same batch throughout, so that nothing but the weights changes
            them. Else they are the training's own, of one batch after the other, whose images differ too.
        progress: told the number of each step, counted from 1, and its loss.
    """
    config = config.replaced(schedule="constant", warmup_epochs=0.0, ema_decay=0.0, precision="fp32")
    learner = build_learner(config, data, device)
    weight = output_weight(learner.model)
    trained_gradient = _GradientOf(weight)
    fixed = next(training_batches(data, config, 1)) if fixed_batch else None
    trace = GradientTrace(distances)
    steps: list[LandscapeStep] = []
    for epoch in range(1, config.integer("epochs") + 1):
        for images, labels in learner.batches(data, epoch):
            before = weight.detach().clone()
            gradient = None if fixed is None else _gradient_on(fixed, learner, weight)
            loss = learner.train_step(images, labels)[0].item()
            progress(len(steps) + 1, loss)
            if not math.isfinite(loss):
                return LandscapeRun(config.number("lr"), tuple(steps), diverged=True)
            change = trace.add(before, trained_gradient.read() if gradient is None else gradient)
            steps.append(LandscapeStep(loss, change))
    return LandscapeRun(config.number("lr"), tuple(steps), diverged=False)


def output_weight(model: nn.Module) -> nn.Parameter:
    """The weights of the output layer: the last of the model's parameters that is no vector."""
    return [parameter for parameter in model.parameters() if parameter.dim() > 1][-1]


class _GradientOf:
    """Keeps the gradient of a parameter as the backward pass brings it: before clipping and the L1 penalty."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self._gradient = torch.zeros_like(parameter)
        parameter.register_hook(self._keep)  # type: ignore[no-untyped-call]

    def _keep(self, gradient: Tensor) -> None:
        self._gradient = gradient.detach().clone()

    def read(self) -> Tensor:
        return self._gradient


def _gradient_on(batch: tuple[Tensor, Tensor], learner: Learner, weight: nn.Parameter) -> Tensor:
    """The gradient of the loss on this batch; dropout, if there is any, drops the same features every time."""
    images, labels = batch
    with torch.random.fork_rng([learner.device] if learner.device.type == "cuda" else []):
        torch.manual_seed(derive_seed(learner.config.integer("seed"), "fixed batch"))
        loss = learner.loss(learner.model(images).float(), labels)
    (gradient,) = torch.autograd.grad(loss, [weight])
    return gradient.detach().clone()
