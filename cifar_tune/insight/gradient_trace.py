"""How much a gradient changes along a training, and over which distance."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Change:
    """What one step shows; w_i are the weights before step i, and g_i the gradient of the loss there.

    Attributes:
        gradient: for each step distance d, the l2 norm of g_i - g_(i-d): gradient predictiveness, the smaller the
            better one gradient tells another. Not a number in the first d steps.
        beta: the largest, over the distances, of |g_i - g_(i-d)| / |w_i - w_(i-d)|: effective beta-smoothness. A
            function is beta-smooth if this is at most beta everywhere; of x'Ax / 2 it is at most the largest eigenvalue
            of A. Not a number where there is no earlier step, or where the weights did not move.
    """

    gradient: tuple[float, ...]
    beta: float


class GradientTrace:
    """Keeps the last weights and gradients of one parameter, as far back as the largest distance.

    The definitions follow Santurkar, Tsipras, Ilyas and Madry, "How does batch normalization help optimization?",
    NeurIPS 2018 (arXiv:1805.11604, section 3.1). There, gradients are compared at several points along one step's
    direction; here, at the points that the training itself visits.

    Args:
        distances: in steps, each at least 1.
    """

    def __init__(self, distances: Sequence[int]) -> None:
        self._distances = tuple(distances)
        self._past: deque[tuple[Tensor, Tensor]] = deque(maxlen=max(distances))

    def add(self, weight: Tensor, gradient: Tensor) -> Change:
        """Take in the weights before a step and the gradient there; both are kept, so hand in copies."""
        changes, betas = [], []
        for distance in self._distances:
            if distance > len(self._past):
                changes.append(math.nan)
                continue
            earlier_weight, earlier_gradient = self._past[-distance]
            change = float((gradient - earlier_gradient).norm())
            moved = float((weight - earlier_weight).norm())
            changes.append(change)
            if moved > 0:
                betas.append(change / moved)
        self._past.append((weight, gradient))
        return Change(tuple(changes), max(betas, default=math.nan))
