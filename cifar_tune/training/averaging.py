"""A moving average of the weights, validated in their place."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage:
    """A copy of a model that follows it by an exponential moving average of its weights.

    Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging". Batch norm's running statistics
    are averaged too, as in torchvision's training references; what counts in whole numbers is copied.

    The arithmetic is that of `torch.optim.swa_utils`. Its `AveragedModel` is not used: it copies its count to the
    device in every step, and waits for the copy.

    Attributes:
        model: the average, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).eval()
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Count the weights of `model` in."""
        average = get_ema_multi_avg_fn(decay_after(self._updates, self._decay))  # type: ignore[no-untyped-call]
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        average([mean for mean, _ in floats], [tensor for _, tensor in floats], None)
        for mean, tensor in pairs:
            if not mean.is_floating_point():
                mean.copy_(tensor)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """References to the averages, and their count."""
        return {"model": self.model.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a copy of what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._updates = state["updates"]


def decay_after(updates: int, decay: float) -> float:
    """The decay grows from 0.1 to `decay`, as in TensorFlow's ExponentialMovingAverage.

    Otherwise the initial weights would weigh most for 1 / (1 - decay) steps, and a pruner would judge the first epochs
    by them.
    """
    return min(decay, (1 + updates) / (10 + updates))


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from (weight.detach() for weight in model.parameters())
    yield from model.buffers()
