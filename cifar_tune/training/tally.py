"""Loss and accuracy summed up on the device, read by the host once."""

import torch
from torch import Tensor


class Tally:
    """Sums over the images seen so far, as tensors on `device`: adding to them waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), device=device)
        self._right = torch.zeros((), device=device)  # float32 counts exactly up to 16 million
        self._images = 0

    def add(self, loss: Tensor, right: Tensor, images: int) -> None:
        """Count a batch in.

        Args:
            loss: its mean loss, a scalar.
            right: how many of its predictions are right, a scalar.
            images: its size.
        """
        self._loss.add_(loss, alpha=images)
        self._right.add_(right)
        self._images += images

    def read(self, *others: "Tally") -> list[tuple[float, float]]:
        """Mean loss and accuracy of this and of the other tallies. The host waits for the device once."""
        tallies = (self, *others)
        sums = torch.stack([total for tally in tallies for total in (tally._loss, tally._right)]).tolist()
        return [
            (loss / tally._images, right / tally._images)
            for tally, loss, right in zip(tallies, sums[::2], sums[1::2], strict=True)
        ]


def count_right(logits: Tensor, labels: Tensor) -> Tensor:
    """How many predictions are right, a scalar.

    Of a mixed image a prediction is right by the share of the predicted class in it, as Zhang et al. count in their
    implementation of mixup: a prediction of the larger part of 0.7 counts 0.7.

    Args:
        logits: (N, classes).
        labels: int64 (N,), or the share of each class, float32 (N, classes).
    """
    if labels.dim() == 1:
        return (logits.argmax(1) == labels).sum()
    return labels.gather(1, logits.argmax(1, keepdim=True)).sum()
