"""A model with all that its training steps need."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from itertools import count
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from cifar_tune.data import batches
from cifar_tune.data.batches import training_sample
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.models.build import FittedModel, FollowsEpochs, build_model
from cifar_tune.models.layers import ImageShape
from cifar_tune.training.accumulation import Accumulation
from cifar_tune.training.averages import MovingAverage, build_lookahead
from cifar_tune.training.class_weights import weights_of_classes
from cifar_tune.training.device import FP16, autocast, configure, forward_pass, resolve_precision
from cifar_tune.training.evaluation import AveragedViews, View, count_right
from cifar_tune.training.initial_weights import freeze, frozen_stages, load_initial_weights
from cifar_tune.training.loss_scaling import LossScaling
from cifar_tune.training.losses import build_loss
from cifar_tune.training.optimizers import (
    GradientChange,
    build_optimizer,
    decayed_parameters,
    load_optimizer_state,
    lr_shares,
    optimizer_state,
)
from cifar_tune.training.schedule_free import SCHEDULE_FREE_OPTIMIZERS, ScheduleFreeAverage
from cifar_tune.training.schedules import build_schedule

EvaluatedWeights = Literal["the last step", "the moving average", "the schedule-free average"]


def build_learner(
    config: Configuration,
    data: ResidentData,
    device: torch.device,
    steps_per_epoch: int | None = None,
    in_graph: bool = False,
) -> "Learner":
    """Build what trains the configuration on these images. Whatever trains on real images builds its learner here.

    Args:
        config: what is trained.
        data: its images, on the device.
        device: where.
        steps_per_epoch: of a schedule that is made for more steps than the images give; None: as many as they give.
        in_graph: whether its steps are to be captured, as far as its parts can be.

    Raises:
        UserError: the images are too small for the model, it cannot be compiled here, or `class_weights` names a class
            that the data do not have.
    """
    configure(config, device)  # a model may compute weights before the first epoch
    steps = batches.steps_per_epoch(data.train_size, config.integer("batch_size"))
    fitted_images = config.vocabulary.models[config.text("model")].fitted_images
    sample = training_sample(data, config, fitted_images) if fitted_images else None
    weights = weights_of_classes(config, data)
    steps = steps_per_epoch or steps
    names = data.classes
    return Learner(config, data.image_shape, len(names), device, steps, sample, in_graph, weights, names)


class Learner:
    """Model, loss, optimizer and schedule of one configuration on one device; `build_learner` makes it.

    Initial weights are drawn on the CPU, from the configuration's seed alone, so that they are the same on every
    device.

    Args:
        config: what is trained.
        image_shape: (3, H, W).
        classes: how many.
        device: where.
        steps_per_epoch: optimizer steps of an epoch.
        sample: training images for a model that is fitted to some before the first epoch (`training_sample`). Without
            them such a model is random.
        in_graph: whether its steps are to be captured, as far as its parts can be.
        class_weights: of each class in the loss, float32 (classes,). Without them all weigh the same.
        class_names: of the classes; None: those of the weights in `init_from`.

    Attributes:
        config: what is trained.
        model: on `device`, channels_last.
        moves_in_graph: whether `move` can be captured too.
        averaged: follows the model's weights, where the configuration asks for their average.
        initial_words: what there is to say of `init_from`; empty if nothing.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        loss: what is minimised, of logits float32 (N, classes) and targets.
        lr: learning rate of the last step; of the first one before any.
        accumulation: takes batches in parts where memory runs out.

    Raises:
        UserError: the images are too small for the model, it cannot be compiled here, the device does not have the
            precision, or the weights of `init_from` cannot be used.
    """

    def __init__(  # noqa: PLR0913  (what it does not find out by itself of the data)
        self,
        config: Configuration,
        image_shape: ImageShape,
        classes: int,
        device: torch.device,
        steps_per_epoch: int,
        sample: Tensor | None = None,
        in_graph: bool = False,
        class_weights: Tensor | None = None,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        _seed(device, derive_seed(config.integer("seed"), "init"))
        model = build_model(config, image_shape, classes)
        if sample is not None:
            cast(FittedModel, model).fit(sample)
        self.initial_words = load_initial_weights(model, config, image_shape, class_names)
        self.config = config
        self.device = device
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._frozen = frozen_stages(self.model, config)
        parts = config.part("optimizer"), config.part("schedule")
        self.moves_in_graph = in_graph and all(part.is_capturable for part in parts)
        self.optimizer = build_optimizer(config, self.model, device, self.moves_in_graph)
        self._lr_shares = lr_shares(self.optimizer)
        self.schedule = build_schedule(config, self.optimizer, steps_per_epoch)
        self.precision = resolve_precision(config, device)
        self._scaling = LossScaling(self.model, device) if self.precision == FP16 else None
        self.lr: float = self.schedule.groups[0]["lr"]
        self._loads = 0
        decay = config.number("ema_decay")
        self.averaged = MovingAverage(self.model, decay, self.moves_in_graph) if decay > 0 else None
        self._schedule_free = (
            ScheduleFreeAverage(self.model, self.optimizer, partial(autocast, self.precision, device))
            if isinstance(self.optimizer, SCHEDULE_FREE_OPTIMIZERS)
            else None
        )
        self._lookahead = build_lookahead(config, self.model, config.integer("epochs") * steps_per_epoch)
        self._views: tuple[View, ...] = TEST_TIME_AUGMENTATIONS[config.text("test_time_augmentation")].resolve()()
        self._forward = forward_pass(self.model, config.flag("compile"))
        self.loss = build_loss(config, class_weights)
        self.accumulation = Accumulation(self.model, self.optimizer, config.text("on_oom") == "accumulate")
        self._gradients = GradientChange(
            list(self.model.parameters()),
            decayed_parameters(config, self.model),
            config.number("clip_grad_norm"),
            config.number("l1"),
        )

    @property
    def evaluated(self) -> nn.Module:
        """What is validated: an average, or the model itself, over all views where images are looked at repeatedly."""
        network = self.evaluated_network
        return network if len(self._views) == 1 else AveragedViews(network, self._views)

    @property
    def evaluated_network(self) -> nn.Module:
        """The same without the views: it maps normalised images to logits."""
        average = self.averaged or self._schedule_free
        return self.model if average is None else average.model

    @property
    def evaluated_weights(self) -> EvaluatedWeights:
        """Which weights those are."""
        if self.averaged is not None:
            return "the moving average"
        return "the last step" if self._schedule_free is None else "the schedule-free average"

    def batches(self, data: ResidentData, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training batches of an epoch, each for one step; what it draws depends on the seed and its number.

        The epoch is begun before the first batch, and ended when the batch after the last one is asked for.

        Args:
            data: the images, on the device.
            epoch: counted from 1.

        Yields:
            Images and labels, as `training_batches` does.
        """
        self.start_epoch(epoch)
        yield from batches.training_batches(data, self.config, epoch)
        self.end_epoch()

    def start_epoch(self, epoch: int) -> None:
        """Seed what the steps of an epoch draw, counted from 1, and begin it."""
        _seed(self.device, derive_seed(self.config.integer("seed"), "epoch", epoch))
        self.begin_epoch(epoch)

    def endless_batches(self, data: ResidentData) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of one epoch after the other, however many epochs the configuration has."""
        for epoch in count(1):
            yield from self.batches(data, epoch)

    def set_lr(self, lr: float) -> None:
        """Take the next step at this learning rate instead of the schedule's.

        Where biases of norms learn at a rate of their own, it stays `norm_bias_lr_factor` times this one.
        """
        self.schedule.put([lr * share for share in self._lr_shares])

    def begin_epoch(self, epoch: int) -> None:
        """Make ready for the steps of an epoch, counted from 1."""
        self.model.train()
        if isinstance(self.model, FollowsEpochs):
            self.model.begin_epoch(epoch)
        freeze(self._frozen)

    def end_epoch(self) -> None:
        """Finish the steps of an epoch, before anything is validated."""
        if self._lookahead is not None:
            self._lookahead.after_epoch()
        if self._schedule_free is not None:
            self._schedule_free.after_epoch(self.model)

    def train_step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; the model must be in training mode.

        Args:
            images: float32 (N, 3, H, W), channels_last.
            labels: int64 (N,), or of mixed images the share of each class, float32 (N, classes).

        Returns:
            The loss, float32 (), and how many predictions were right (`count_right`), (). Both stay on the device:
            nothing here waits for it.
        """
        loss, right = self.accumulation.take_step(
            images, labels, self._backward, self._change_gradients, self._move_weights
        )
        self.optimizer.zero_grad()
        self._follow()
        self.after_step(images)
        return loss, right

    @property
    def version(self) -> tuple[object, ...]:
        """Changes whenever `gradients` and `move` do something else than before, and must be captured again."""
        return self._loads, *(weight.requires_grad for weight in self.model.parameters())

    @property
    def has_capturable_gradients(self) -> bool:
        """Whether nothing that the learner adds to its parts stands against capturing `gradients`."""
        return self._scaling is None or self.moves_in_graph  # what scales the loss is told of every step on the host

    def gradients(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The first half of `train_step`, as a CUDA graph holds it: weights get gradients; they have none before.

        Nothing changes on the host, and memory that runs out is raised.

        Args:
            images: as `train_step` takes them.
            labels: likewise.

        Returns:
            As `train_step`.
        """
        loss, right = self._backward(images, labels, 1.0)
        self._change_gradients()
        return loss, right

    def move(self) -> None:
        """The second half of `train_step`: gradients move the weights, and averages follow them."""
        self._move_weights()
        self._follow()

    def after_step(self, images: Tensor) -> None:
        """What `train_step` does on the host: counting, and the numbers of the next step.

        Args:
            images: of the step.
        """
        self.lr = self.schedule.groups[0]["lr"]
        self.schedule.after_step()
        if self._lookahead is not None:
            self._lookahead.after_step()
        if self.averaged is not None:
            self.averaged.count()
        if self._schedule_free is not None:
            self._schedule_free.remember(images)

    def _follow(self) -> None:
        if self.averaged is not None:
            self.averaged.update(self.model)

    def _backward(self, images: Tensor, labels: Tensor, factor: float) -> tuple[Tensor, Tensor]:
        with autocast(self.precision, self.device):
            logits = self._forward(images)
        # In float32: eight bits of mantissa are too few for the logarithm of a sum.
        loss = self.loss(logits.float(), labels)
        total = loss if factor == 1 else loss * factor
        if self._scaling is not None:
            total = self._scaling.scaled(total)
        total.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), count_right(logits, labels)

    def _change_gradients(self) -> None:
        if self._scaling is not None:
            self._scaling.unscale()  # before anything looks at the length of the gradient
        self._gradients.apply()

    def _move_weights(self) -> None:
        if self._scaling is None:
            self.optimizer.step()
        else:
            self._scaling.step(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        """References to the state of model, average, optimizer and schedule: copy them before the next step.

        To be taken between two epochs.
        """
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimizer": optimizer_state(self.optimizer, self.schedule.groups),
            "schedule": self.schedule.state_dict(),
            "parts": self.accumulation.parts,
        }
        if self.averaged is not None:
            state["averaged"] = self.averaged.state_dict()
        if self._lookahead is not None:
            state["lookahead"] = self._lookahead.state_dict()
        if self._schedule_free is not None:
            state["schedule_free"] = self._schedule_free.state_dict()
        if self._scaling is not None:
            state["scaling"] = self._scaling.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a copy of what `state_dict` returned for the same configuration."""
        self.model.load_state_dict(state["model"])
        self.accumulation.continue_with(state["parts"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        if self._lookahead is not None:
            self._lookahead.load_state_dict(state["lookahead"])
        if self._schedule_free is not None:
            self._schedule_free.load_state_dict(state["schedule_free"])
        if self._scaling is not None:
            self._scaling.load_state_dict(state["scaling"])
        load_optimizer_state(self.optimizer, deepcopy(state["optimizer"]))
        self.schedule.load_state_dict(deepcopy(state["schedule"]))
        self._loads += 1


def _seed(device: torch.device, seed: int) -> None:
    """Seed what a training draws without generators of its own.

    `torch.manual_seed` seeds devices of every kind. Where a kind is not in use yet, it notes down the whole call stack
    to do it later, so a training on the CPU, which draws nothing on them, leaves them out.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
