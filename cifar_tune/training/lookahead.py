"""Lookahead: the optimizer runs some steps ahead, then the weights go back part of the way.

Zhang, Lucas, Hinton and Ba 2019, "Lookahead optimizer: k steps forward, 1 step back" (arXiv:1907.08610).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.lookaheads import LOOKAHEADS, NO_LOOKAHEAD
from cifar_tune.training.torch_internals import copy_all, move_all


class Lookahead:
    """Slow weights that follow the learned ones, and from which these begin again every few steps.

    They also begin again at the end of each epoch: so what is validated and kept are the slow weights, and a
    checkpoint needs no second copy of them. Running statistics of batch norms and the optimizer's moments stay.

    Args:
        weights: the learned ones, changed in place.
        steps: how many are taken between two meetings.
        share: from the share of training that is over, how far the slow weights follow, more than 0 to 1.
        total: steps of the whole training.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], steps: int, share: Callable[[float], float], total: int
    ) -> None:
        self._weights = [weight.detach() for weight in weights]
        self._slow = [weight.clone() for weight in self._weights]
        self._steps = steps
        self._share = share
        self._total = total
        self._taken = 0

    def after_step(self) -> None:
        """Count an optimizer step, and let the weights meet where it is time."""
        self._taken += 1
        if self._taken % self._steps == 0:
            self._meet()

    def after_epoch(self) -> None:
        """Let the weights meet, unless the last step did."""
        if self._taken % self._steps != 0:
            self._meet()

    @torch.no_grad()
    def _meet(self) -> None:
        move_all(self._slow, self._weights, self._share(self._taken / self._total))
        copy_all(self._weights, self._slow)

    def state_dict(self) -> dict[str, Any]:
        """How many steps were taken. To be taken at the end of an epoch: then the slow weights are the model's."""
        return {"steps": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned; the model's state must be loaded already."""
        self._taken = state["steps"]
        copy_all(self._slow, self._weights)


def build_lookahead(config: Configuration, model: nn.Module, total: int) -> Lookahead | None:
    """Return the configuration's lookahead over a training of `total` steps, or None where it has none."""
    name = config.text("lookahead")
    if name == NO_LOOKAHEAD:
        return None
    part = LOOKAHEADS[name]
    arguments = part.arguments_from(config)
    share: Callable[[float], float] = partial(part.resolve(), alpha=arguments["alpha"])
    return Lookahead(model.parameters(), arguments["steps"], share, total)


def constant(_progress: float, *, alpha: float) -> float:
    """Always `alpha`."""
    return alpha


def cubic(progress: float, *, alpha: float) -> float:
    """Falls from 1 to `alpha` with the third power of `progress`, as in Jordan 2024 (arXiv:2404.00498)."""
    return 1 - (1 - alpha) * progress**3
