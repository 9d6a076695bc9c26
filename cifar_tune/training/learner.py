"""A model with all that its training steps need, and nothing of the data."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import build_model
from cifar_tune.models.image_size import ImageShape
from cifar_tune.training.optimizers import build_optimizer
from cifar_tune.training.precision import autocast, resolve_precision
from cifar_tune.training.schedules import build_schedule
from cifar_tune.training.tally import count_right


class Learner:
    """Model, optimizer and schedule of one configuration on one device.

    Initial weights are drawn on the CPU, from the configuration's seed alone, so that they are the same on every
    device.

    Attributes:
        model: on `device`, channels_last.
        precision: `fp32` or `bf16`.
        lr: learning rate of the last step; of the first one before any.

    Raises:
        UserError: the images are too small for the model.
    """

    def __init__(
        self,
        config: Configuration,
        image_shape: ImageShape,
        classes: int,
        device: torch.device,
        steps_per_epoch: int,
    ) -> None:
        torch.manual_seed(derive_seed(config.integer("seed"), "init"))
        model = build_model(config, image_shape, classes)
        self.device = device
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(config, self.model, device)
        self.schedule = build_schedule(config, self.optimizer, steps_per_epoch)
        self.precision = resolve_precision(config, device)
        self.lr: float = self.optimizer.param_groups[0]["lr"]
        self._label_smoothing = config.number("label_smoothing")

    def train_step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Take one optimizer step; the model must be in training mode.

        Args:
            images: float32 (N, 3, H, W), channels_last.
            labels: int64 (N,), or of mixed images the share of each class, float32 (N, classes).

        Returns:
            The loss, float32 (), and how many predictions were right (`count_right`), (). Both stay on the device:
            nothing here waits for it.
        """
        with autocast(self.precision, self.device):
            logits = self.model(images)
        # In float32: eight bits of mantissa are too few for the logarithm of a sum.
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=self._label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        self.lr = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.after_step()
        return loss.detach(), count_right(logits, labels)

    def state_dict(self) -> dict[str, Any]:
        """References to the state of model, optimizer and schedule: copy them before the next step."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a copy of what `state_dict` returned for the same configuration."""
        self.model.load_state_dict(state["model"])
        # Torch's optimizers would go on in the very tensors that they are given.
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))
        self.schedule.load_state_dict(deepcopy(state["schedule"]))
