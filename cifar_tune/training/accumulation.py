"""The step of a batch, in as many parts as the memory takes."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cifar_tune.models.layers import BATCH_NORMS
from cifar_tune.training.failures import is_out_of_memory, release
from cifar_tune.training.optimizers import load_optimizer_state
from cifar_tune.training.torch_internals import copy_all

_FEWEST_IMAGES = 2
"""Of a part: batch norm needs more than one where the features have no extent."""

Backward = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""Adds the gradient of the mean loss of some images, times a factor, to the gradients that are there.

Takes images, labels and the factor; returns that mean loss, (), and how many predictions were right, ()."""


class Accumulation:
    """Takes a batch whole and, once memory runs out, in parts whose gradients add up to that of the whole batch.

    The loss is a mean over images, so the gradients of the parts, each times its share of the images, sum up to that of
    the batch, but for rounding. What looks at several images at once does not: batch norm normalizes each part by its
    own statistics, and moves its running ones once per part; and dropout draws other features.

    The first step counts too: there the optimizer makes its moments, which take one to three times the memory of the
    weights. If memory runs out there, weights and optimizer are put back where they were. A later step of the optimizer
    cannot be undone, since that would take a copy of its moments beside them: running out of memory there is raised.

    Args:
        model: whose gradients and buffers are put back where they were when memory ran out in the middle.
        optimizer: that moves its weights.
        is_wanted: else running out of memory is raised at once.

    Attributes:
        parts: of each batch. It never falls again, so that the memory that sufficed suffices.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, is_wanted: bool) -> None:
        self.parts = 1
        self._model = model
        self._optimizer = optimizer
        self._is_wanted = is_wanted
        self._has_moments = False
        self._buffers = list(model.buffers()) if is_wanted else []
        self._kept = [buffer.clone() for buffer in self._buffers]

    @property
    def changes_batch_norm(self) -> bool:
        """Whether batch norm sees parts of batches."""
        is_batch_norm = (isinstance(module, BATCH_NORMS) for module in self._model.modules())
        return self.parts > 1 and any(is_batch_norm)

    @property
    def words(self) -> str:
        """What happened, for people."""
        aside = "; batch norm sees each by itself, so that results differ" if self.changes_batch_norm else ""
        return f"memory ran out, so each step is split into {self.parts} micro-batches{aside}"

    def take_step(
        self,
        images: Tensor,
        labels: Tensor,
        backward: Backward,
        change_gradients: Callable[[], None],
        move_weights: Callable[[], None],
    ) -> tuple[Tensor, Tensor]:
        """Let the optimizer move the weights, which have no gradient yet, by the gradient of the batch's mean loss.

        Args:
            images: of the batch.
            labels: of the batch.
            backward: adds the gradient of a part of the batch.
            change_gradients: is called once they are complete.
            move_weights: lets the optimizer take its step.

        Returns:
            The mean loss, (), and how many predictions were right, ().

        Raises:
            RuntimeError, MemoryError: memory runs out, and smaller parts are not wanted, not possible or no help.
        """
        while True:
            before: _Before | None = None
            can_be_undone = self._is_wanted
            if self._buffers:
                copy_all(self._kept, self._buffers)
            try:
                loss, right = self._backward_in_parts(images, labels, backward)
                change_gradients()
                if self._is_wanted and not self._has_moments:
                    before = _Before(self._model, self._optimizer)
                can_be_undone = before is not None
                move_weights()
            except (RuntimeError, MemoryError) as error:
                if not can_be_undone or not is_out_of_memory(error) or not self._can_split(len(labels)):
                    raise
            else:
                self._has_moments = True
                return loss, right
            # Not in the handler: the error holds what was computed so far.
            self._undo(before)
            before = None
            release(images.device)
            self.parts *= 2

    def continue_with(self, parts: int) -> None:
        """Go on from a checkpoint, in as many parts as before; it brings the optimizer's moments too."""
        self.parts = parts
        self._has_moments = True

    def _backward_in_parts(self, images: Tensor, labels: Tensor, backward: Backward) -> tuple[Tensor, Tensor]:
        if self.parts == 1:
            return backward(images, labels, 1.0)
        losses, rights = [], []
        for part, its_labels in zip(images.tensor_split(self.parts), labels.tensor_split(self.parts), strict=True):
            share = len(its_labels) / len(labels)
            loss, right = backward(part, its_labels, share)
            losses.append(loss * share)
            rights.append(right)
        return torch.stack(losses).sum(), torch.stack(rights).sum()

    def _can_split(self, images: int) -> bool:
        return 2 * self.parts * _FEWEST_IMAGES <= images

    def _undo(self, before: "_Before | None") -> None:
        self._model.zero_grad()
        self._optimizer.zero_grad()  # Muon's matrices have gradients of their own
        if self._buffers:
            copy_all(self._buffers, self._kept)
        if before is not None:
            before.put_back()


class _Before:
    """Weights and optimizer as they are before the first step."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self._weights = [weight.detach() for weight in model.parameters()]
        self._copies = [weight.clone() for weight in self._weights]
        self._optimizer = optimizer
        self._state: dict[str, Any] = deepcopy(optimizer.state_dict())

    def put_back(self) -> None:
        copy_all(self._weights, self._copies)
        load_optimizer_state(self._optimizer, self._state)
