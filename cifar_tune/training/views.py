"""A model that looks at each image several times.

The mean of the logits is what counts, of all views with their shares, as in Jordan 2024 (arXiv:2404.00498, section
3.6). Views are made of normalised images, float32 (N, 3, H, W), and keep their shape.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class View:
    """One way of looking at a batch of images.

    Attributes:
        share: of the mean; those of all views sum up to 1.
        take: makes the view, in channels_last memory format.
    """

    share: float
    take: Callable[[Tensor], Tensor]


def single() -> tuple[View, ...]:
    """The images as they are."""
    return (View(1.0, _as_it_is),)


def mirror() -> tuple[View, ...]:
    """The images, and mirrored left and right."""
    return (View(0.5, _as_it_is), View(0.5, _mirrored))


def multi_crop() -> tuple[View, ...]:
    """As `mirror`, and both once more up left and once more down right by one pixel, half as much in all.

    What comes in from outside the image is the image mirrored at its border pixels.
    """
    return (
        View(0.25, _as_it_is),
        View(0.25, _mirrored),
        View(0.125, _up_left),
        View(0.125, _down_right),
        View(0.125, lambda images: _up_left(_mirrored(images))),
        View(0.125, lambda images: _down_right(_mirrored(images))),
    )


class AveragedViews(nn.Module):
    """A model's mean logits over the views of each image.

    Args:
        model: maps images to logits.
        views: of each image.
    """

    def __init__(self, model: nn.Module, views: Sequence[View]) -> None:
        super().__init__()
        self.model = model
        self._views = views

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes), float32, of images (N, 3, H, W)."""
        logits = [view.share * self.model(view.take(images)).float() for view in self._views]
        return torch.stack(logits).sum(0)


def _as_it_is(images: Tensor) -> Tensor:
    return images


def _mirrored(images: Tensor) -> Tensor:
    return images.flip(3).contiguous(memory_format=torch.channels_last)


def _up_left(images: Tensor) -> Tensor:
    return _window(images, 2)


def _down_right(images: Tensor) -> Tensor:
    return _window(images, 0)


def _window(images: Tensor, start: int) -> Tensor:
    """The window of the old size that begins at (`start`, `start`) of the images with a margin of one pixel."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (1, 1, 1, 1), mode="reflect")
    window = padded[:, :, start : start + height, start : start + width]
    return window.contiguous(memory_format=torch.channels_last)
