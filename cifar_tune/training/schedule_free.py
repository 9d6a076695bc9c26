"""The weights that a schedule-free optimizer stands for, validated in place of those that it moves."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any

import torch
from schedulefree import AdamWScheduleFree, SGDScheduleFree
from torch import Tensor, nn

from cifar_tune.models.layers import BATCH_NORMS

SCHEDULE_FREE_OPTIMIZERS = (SGDScheduleFree, AdamWScheduleFree)

IMAGES_FOR_STATISTICS = 2048
"""How many of an epoch's last training images the batch norms of the average are measured on."""


class ScheduleFreeAverage:
    """A copy of a model with the average of a schedule-free optimizer's iterates, brought up to date after each epoch.

    Defazio et al. 2024, "The Road Less Scheduled" (arXiv:2405.15682): gradients are taken at one point, and another,
    an average, is what was learned. Running statistics of batch norms belong to the first, so they are measured again
    for the second, as the authors' package advises: on the last training batches, without any gradient.

    Args:
        model: what `optimizer` moves.
        optimizer: one of SCHEDULE_FREE_OPTIMIZERS.
        autocast: a context for the forward pass.

    Attributes:
        model: the average, in evaluation mode.
    """

    def __init__(
        self, model: nn.Module, optimizer: Any, autocast: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self.model = deepcopy(model).eval()
        self._optimizer = optimizer
        self._autocast = autocast
        self._norms = [norm for norm in self.model.modules() if isinstance(norm, BATCH_NORMS)]
        self._batches: deque[Tensor] = deque()

    def remember(self, images: Tensor) -> None:
        """Keep the images (N, 3, H, W) of a training step as long as they are among the last ones."""
        if not self._norms:
            return
        self._batches.append(images.clone())  # the images of a captured step lie where those of the next one will
        while sum(len(batch) for batch in self._batches) - len(self._batches[0]) >= IMAGES_FOR_STATISTICS:
            self._batches.popleft()

    @torch.no_grad()
    def after_epoch(self, model: nn.Module) -> None:
        """Take over the average of the weights of `model`, and measure its batch norms."""
        self._optimizer.eval()
        self.model.load_state_dict(model.state_dict())
        self._optimizer.train()
        if not self._batches:
            return
        for norm in self._norms:
            norm.reset_running_stats()
            norm.train()
        with self._autocast():
            for number, images in enumerate(self._batches, start=1):
                for norm in self._norms:
                    norm.momentum = 1 / number  # a plain mean; torch's own way to it waits for the device
                self.model(images)
        self.model.eval()
        self._batches.clear()

    def state_dict(self) -> dict[str, Any]:
        """References to the average."""
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a copy of what `state_dict` returned."""
        self.model.load_state_dict(state)
