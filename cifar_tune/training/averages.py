"""Weights that follow the learned ones: an exponential moving average, and lookahead.

Lookahead: Zhang, Lucas, Hinton and Ba 2019, "Lookahead optimizer: k steps forward, 1 step back" (arXiv:1907.08610).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.lookaheads import LOOKAHEADS, NO_LOOKAHEAD
from cifar_tune.training.torch_internals import copy_all, move_all


class MovingAverage:
    """A copy of a model that follows it by an exponential moving average of its weights.

    Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging". Batch norm's running statistics
    are averaged too, as in torchvision's training references; what counts in whole numbers is copied.

    The arithmetic is that of `torch.optim.swa_utils`. Its `AveragedModel` is not used: it copies its count to the
    device in every step, and waits for the copy.

    Args:
        model: what it follows.
        decay: of the average, in the long run.
        in_graph: whether the updates are to be captured; how far they go is then in a tensor.

    Attributes:
        model: the average, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float, in_graph: bool = False) -> None:
        self.model = deepcopy(model).eval()
        self._decay = decay
        self._updates = 0
        self._share = torch.zeros((), device=next(model.parameters()).device) if in_graph else None
        self._filled: float | None = None
        self._fill()

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the weights of `model`, once after each step; then `count` it."""
        pairs = list(zip(_tensors(self.model), _tensors(model), strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        others = [pair for pair in pairs if not pair[0].is_floating_point()]
        share = self._next_share if self._share is None else self._share
        move_all([mean for mean, _ in floats], [tensor for _, tensor in floats], share)
        if others:
            copy_all([mean for mean, _ in others], [tensor for _, tensor in others])

    def count(self) -> None:
        """Count an update: the next one goes less far."""
        self._updates += 1
        self._fill()

    @property
    def _next_share(self) -> float:
        return 1 - decay_after(self._updates, self._decay)

    def _fill(self) -> None:
        if self._share is not None and self._filled != self._next_share:  # each is a launch
            self._filled = self._next_share
            self._share.fill_(self._filled)

    def state_dict(self) -> dict[str, Any]:
        """References to the averages, and their count."""
        return {"model": self.model.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a copy of what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._updates = state["updates"]
        self._fill()


def decay_after(updates: int, decay: float) -> float:
    """The decay grows from 0.1 to `decay`, as in TensorFlow's ExponentialMovingAverage.

    Otherwise the initial weights would weigh most for 1 / (1 - decay) steps, and a pruner would judge the first epochs
    by them.
    """
    return min(decay, (1 + updates) / (10 + updates))


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from (weight.detach() for weight in model.parameters())
    yield from model.buffers()


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
        """Count an optimizer step; every few steps both sets of weights become equal."""
        self._taken += 1
        if self._taken % self._steps == 0:
            self._move_slow_weights()

    def after_epoch(self) -> None:
        """Make both sets of weights equal, unless the last step did."""
        if self._taken % self._steps != 0:
            self._move_slow_weights()

    @torch.no_grad()
    def _move_slow_weights(self) -> None:
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
