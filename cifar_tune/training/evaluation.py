"""Loss and accuracy of a model on images that it is not trained on.

With test-time augmentation, a model looks at several views of each image, and the weighted mean of the logits counts,
as in Jordan 2024 (arXiv:2404.00498, section 3.6). Views are made of normalised images, float32 (N, 3, H, W), and keep
their shape.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cifar_tune.data.batches import ValidationBatches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.device import autocast
from cifar_tune.training.graphs import Graphs, Replayed


class Tally:
    """Sums over images, as tensors on `device`: adding to them waits for nothing.

    Attributes:
        images: how many the sums are of; whoever adds them says so.
    """

    def __init__(self, device: torch.device) -> None:
        self.images = 0
        self._loss = torch.zeros((), device=device)
        self._right = torch.zeros((), device=device)  # float32 counts exactly up to 16 million

    def reset(self, images: int) -> None:
        """Begin again, for this many images."""
        self.images = images
        for total in (self._loss, self._right):
            total.zero_()

    def add(self, loss: Tensor, right: Tensor, images: int) -> None:
        """Add a batch to the sums.

        Args:
            loss: its mean loss, a scalar.
            right: how many of its predictions are right, a scalar.
            images: its size.
        """
        self._loss.add_(loss, alpha=images)
        self._right.add_(right)

    def read(self, *others: "Tally") -> list[tuple[float, float]]:
        """Mean loss and accuracy of this and of the other tallies. The host waits for the device once."""
        tallies = (self, *others)
        sums = torch.stack([total for tally in tallies for total in (tally._loss, tally._right)]).tolist()
        return [
            (loss / tally.images, right / tally.images)
            for tally, loss, right in zip(tallies, sums[::2], sums[1::2], strict=True)
        ]


class KeptLogits:
    """The logits of all images of a validation, in a tensor that stays where it is: keeping them waits for nothing.

    Args:
        images: how many there are.
        classes: logits of each.
        device: where.

    Attributes:
        values: float32 (images, classes), in the order in which they were added.
    """

    def __init__(self, images: int, classes: int, device: torch.device) -> None:
        self.values = torch.zeros(images, classes, device=device)
        self._count = 0

    def begin(self) -> None:
        """The next image is the first."""
        self._count = 0

    def add(self, logits: Tensor) -> None:
        """Keep those of the next batch, float32 (B, classes)."""
        self.values[self._count : self._count + len(logits)] = logits
        self._count += len(logits)


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
        return mean_logits(self.model, self._views, images)


def mean_logits(model: Callable[[Tensor], Tensor], views: Sequence[View], images: Tensor) -> Tensor:
    """The model's logits (N, classes), float32, of images (N, 3, H, W): the mean over the views of each image."""
    if len(views) == 1:
        return model(images).float()
    logits = [view.share * model(view.take(images)).float() for view in views]
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


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], precision: str, device: torch.device) -> Tally:
    """Leave the model in evaluation mode, and return its cross entropy and accuracy over the batches.

    Args:
        model: maps images to logits.
        batches: images float32 (N, 3, H, W) and labels int64 (N,); sizes may differ.
        precision: `fp32`, `tf32`, `bf16` or `fp16`.
        device: where model and batches are.
    """
    tally = Tally(device)
    tally.images = evaluate_into(tally, model, batches, precision, device)
    return tally


@torch.inference_mode()
def evaluate_into(
    tally: Tally,
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    precision: str,
    device: torch.device,
    keep: Callable[[Tensor], None] | None = None,
) -> int:
    """As `evaluate`, but add to these sums, and hand the logits of each batch to `keep`; return how many images."""
    model.eval()
    count = 0
    with autocast(precision, device):  # around all batches, so that weights are cast only once
        for images, labels in batches:
            logits = model(images).float()
            tally.add(functional.cross_entropy(logits, labels), (logits.argmax(1) == labels).sum(), len(labels))
            if keep is not None:
                keep(logits)
            count += len(labels)
    return count


class Validation:
    """Validates a model on the validation split, again and again.

    With `graphs`, the first validation runs as it is, and the full batches of the others are one launch each.

    Args:
        model: maps images to logits; its weights stay where they are.
        data: the images, on the device.
        config: names the normalization.
        precision: as `evaluate` takes it.
        graphs: what captures it; None: it always runs as it is.
        keeps_logits: whether `logits` are kept.

    Attributes:
        logits: of all validation images after a run, in their order; None where they are not kept.
    """

    def __init__(
        self,
        model: nn.Module,
        data: ResidentData,
        config: Configuration,
        precision: str,
        graphs: Graphs | None,
        keeps_logits: bool = False,
    ) -> None:
        self._model = model
        self._precision = precision
        self._device = data.device
        self._batches = ValidationBatches(data, config)
        self._tally = Tally(data.device)
        self._images = data.val_size
        self._replayed = Replayed[Tensor](graphs, {}) if graphs is not None else None
        self._is_warm = False
        self.logits = KeptLogits(data.val_size, len(data.classes), data.device) if keeps_logits else None

    @property
    def words(self) -> str:
        """Why it could not be captured, for people; empty if it was, or if it should not be."""
        if self._replayed is None or not self._replayed.problem:
            return ""
        return f"validations run without a CUDA graph, which could not be captured: {self._replayed.problem}"

    @torch.inference_mode()
    def run(self) -> Tally:
        """Leave the model in evaluation mode, and return its cross entropy and accuracy on all validation images."""
        self._model.eval()
        self._batches.begin()
        self._tally.reset(self._images)
        if self.logits is not None:
            self.logits.begin()
        replayed = self._replayed
        if replayed is not None and self._is_warm and not replayed.is_ready and not replayed.problem:
            replayed.capture(self._add_next)
        if replayed is not None and replayed.is_ready:
            for _ in range(self._batches.full):
                logits = replayed.replay()
                if self.logits is not None:
                    self.logits.add(logits)
        else:
            with nullcontext() if replayed is None or replayed.problem else replayed.warming_up():
                self._add(self._batches.next_batch() for _ in range(self._batches.full))
        self._add(self._batches.rest())
        self._is_warm = self._batches.full > 0
        return self._tally

    def _add_next(self) -> Tensor:
        """Add a full batch to the sums, and return its logits: where they are kept is a number of the host."""
        logits: list[Tensor] = []
        batches = [self._batches.next_batch()]
        evaluate_into(self._tally, self._model, batches, self._precision, self._device, logits.append)
        return logits[0]

    def _add(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        keep = None if self.logits is None else self.logits.add
        evaluate_into(self._tally, self._model, batches, self._precision, self._device, keep)
