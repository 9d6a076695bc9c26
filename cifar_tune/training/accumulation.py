"""The gradient of a batch, in as many parts as the memory takes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cifar_tune.models.norm import BATCH_NORMS
from cifar_tune.training.memory import is_out_of_memory
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

    Args:
        model: whose gradients and buffers are put back where they were when memory ran out in the middle.
        is_wanted: else running out of memory is raised at once.

    Attributes:
        parts: of each batch. It never falls again, so that the memory that sufficed suffices.
    """

    def __init__(self, model: nn.Module, is_wanted: bool) -> None:
        self.parts = 1
        self._model = model
        self._is_wanted = is_wanted
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

    def backward(self, images: Tensor, labels: Tensor, backward: Backward) -> tuple[Tensor, Tensor]:
        """Leave the gradient of the batch's mean loss in the weights, which have none yet.

        Returns:
            The mean loss, (), and how many predictions were right, ().

        Raises:
            RuntimeError, MemoryError: memory runs out, and smaller parts are not wanted or not possible.
        """
        while True:
            if self._buffers:
                copy_all(self._kept, self._buffers)
            try:
                return self._backward_in_parts(images, labels, backward)
            except (RuntimeError, MemoryError) as error:
                if not self._is_wanted or not is_out_of_memory(error) or not self._can_split(len(labels)):
                    raise
            # Not in the handler: the error holds what was computed so far.
            self._undo(images.device)
            self.parts *= 2

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

    def _undo(self, device: torch.device) -> None:
        self._model.zero_grad()
        if self._buffers:
            copy_all(self._buffers, self._kept)
        if device.type == "cuda":
            torch.cuda.empty_cache()
