"""What a model may have beside its layers, for the training to call."""

from typing import Protocol, runtime_checkable

from torch import Tensor


class FittedModel(Protocol):
    """A model with weights that are computed from training images and not learned.

    Its registry entry says from how many (`ModelPart.fitted_images`). Until `fit` was called they are random, which is
    enough for counting, timing and loading a state.
    """

    def fit(self, images: Tensor) -> None:
        """Compute these weights, in place.

        Args:
            images: float32 (N, 3, H, W) on the CPU, normalised but not augmented.
        """
        ...


@runtime_checkable
class FollowsEpochs(Protocol):
    """A model that changes with the number of the epoch, and with nothing else."""

    def begin_epoch(self, epoch: int) -> None:
        """Make ready for an epoch.

        Args:
            epoch: counted from 1.
        """
        ...
