"""Training that left the finite numbers."""

import math

from cifar_tune.errors import CifarTuneError


class Diverged(CifarTuneError):  # noqa: N818  a state of training, as the studies name it
    """The loss is infinite or not a number.

    Attributes:
        epoch: in which it was noticed, from 1.
        what: the figure that is not finite, such as `train loss`.
    """

    def __init__(self, epoch: int, what: str) -> None:
        # Both are the exception's arguments, so that it can be pickled on its way out of a process.
        super().__init__(epoch, what)
        self.epoch = epoch
        self.what = what

    def __str__(self) -> str:
        return f"training diverged: the {self.what} of epoch {self.epoch} is not finite"


def require_finite(epoch: int, what: str, loss: float) -> None:
    """Go on only with a finite loss.

    Raises:
        Diverged: it is infinite or not a number.
    """
    if not math.isfinite(loss):
        raise Diverged(epoch, what)
