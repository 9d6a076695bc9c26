"""Loss scaling: small gradients of a float16 backward pass would become zero, so that it is taken of a larger loss.

Micikevicius et al. 2018, "Mixed precision training" (arXiv:1710.03740, section 3.2).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Optimizer

from cifar_tune.training.torch_internals import copy_all


class LossScaling:
    """Multiplies the loss, divides the gradients again, and leaves the weights as they are where gradients overflow.

    The factor is that of `torch.amp.GradScaler`: it begins at 65,536, halves with every overflow, and doubles after
    2,000 steps without one.

    Its `step` is not used. It reads on the host whether to skip a step of most optimizers, and so waits for the device
    every time; and to the fused ones it leaves the skipping, of which SGD's (in torch 2.14) leaves its momentum
    undefined if the first step is skipped. Here the optimizer always takes its step. If gradients have overflowed, it
    sees zeros instead of them, and the weights are put back: so moments shrink as in a step without a gradient, counts
    of steps and schedules go on, and the weights stay.

    Args:
        model: on `device`, its weights float32.
        device: where.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type)
        self._weights = list(model.parameters())
        self._kept = [weight.detach().clone() for weight in self._weights]
        # An optimizer is how a GradScaler is told which gradients to divide. The real one may be several, one of which
        # knows matrices in place of the weights (Muon).
        self._all = SGD(self._weights)
        self._overflow: Tensor | None = None

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss, (), times the factor."""
        return self._scaler.scale(loss)

    @torch.no_grad()
    def unscale(self) -> None:
        """Divide the gradients of all weights by the factor, once they are complete: before they are looked at."""
        if self._overflow is not None:  # the step is taken again, since memory ran out in its middle
            self._scaler.update(self._scaler.get_scale())
        self._scaler.unscale_(self._all)
        largest = get_total_norm(self._gradients, norm_type=math.inf)
        self._overflow = largest.isfinite().logical_not()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Let the optimizer take its step, and move the factor; `unscale` comes before."""
        overflow = self._overflow
        if overflow is None:
            raise RuntimeError("the gradients must be unscaled before the step")
        for gradient in self._gradients:
            gradient.masked_fill_(overflow, 0.0)
        copy_all(self._kept, [weight.detach() for weight in self._weights])
        optimizer.step()
        for weight, kept in zip(self._weights, self._kept, strict=True):
            weight.copy_(torch.where(overflow, kept, weight))
        self._scaler.update()
        self._overflow = None

    @property
    def _gradients(self) -> list[Tensor]:
        return [weight.grad for weight in self._weights if weight.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """The factor, and how many steps ago it changed. The host waits for the device."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._scaler.load_state_dict(dict(state))
