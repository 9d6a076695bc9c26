"""What happens to the gradients between the backward pass and the optimizer. Nothing here waits for the device."""

from collections.abc import Sequence

import torch
from torch import nn


class GradientChange:
    """Clips the norm of the gradient of the loss, then adds the slope of an L1 penalty.

    Like weight decay, the penalty is outside the loss that is told and outside the norm that is clipped.

    Args:
        weights: all weights of the model.
        penalized: those that the penalty acts on.
        clip_norm: the longest gradient, over all weights together; 0 leaves it as it is (Pascanu, Mikolov and Bengio
            2013, arXiv:1211.5063).
        l1: times the sign of a weight is the slope; 0 is none.
    """

    def __init__(
        self, weights: Sequence[nn.Parameter], penalized: Sequence[nn.Parameter], clip_norm: float, l1: float
    ) -> None:
        self._weights = weights
        self._penalized = penalized
        self._clip_norm = clip_norm
        self._l1 = l1

    @torch.no_grad()
    def apply(self) -> None:
        """Change the gradients in place."""
        if self._clip_norm > 0:
            nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        if self._l1 > 0:
            for weight in self._penalized:
                if weight.grad is not None:
                    weight.grad.add_(weight.sign(), alpha=self._l1)
