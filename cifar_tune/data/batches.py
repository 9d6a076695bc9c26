"""Batches: the images of an epoch in a drawn order, or of the validation split in their own."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cifar_tune.data.augmentation.coordinates import gather
from cifar_tune.data.augmentation.draw import Epoch, Places
from cifar_tune.data.augmentation.pipeline import Augmentation, draw_augmentation
from cifar_tune.data.normalization import normalization
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.sampling import SAMPLINGS
from cifar_tune.data.seeding import derive_seed
from cifar_tune.knobs.configuration import Configuration

EVALUATION_BATCH = 500
"""Images per batch where no gradients are kept: large enough to fill the device, and the same for every
configuration."""


def steps_per_epoch(train_size: int, batch_size: int) -> int:
    """Batches in an epoch: the incomplete last one is dropped, but one there always is."""
    return max(1, train_size // batch_size)


class TrainingBatches:
    """The training batches of a configuration, epoch after epoch.

    What is drawn for an epoch is copied into tensors that stay where they are, and where the next batch begins is a
    number on the device too. So making a batch is the same sequence of operations on the same tensors every time, which
    waits for nothing and can be captured in a CUDA graph, unless an augmentation of a plugin takes part.

    Order and augmentation depend on (`seed`, `epoch`) alone, so an epoch can be repeated without those before it.
    Everything random but noise is drawn at its beginning.

    Args:
        data: the images, on the device.
        config: what is trained.

    Attributes:
        are_capturable: whether making a batch can be captured.
        batch_size: of all batches; a split smaller than the configuration's is one batch.
        steps: batches of an epoch.
        generators: those that augmentations draw from, by name; each gets a new seed in every epoch.
        version: changes whenever a batch is made in another way than before, and must be captured again. Augmentations
            of plugins may do that from one epoch to the next.
    """

    def __init__(self, data: ResidentData, config: Configuration) -> None:
        self._data = data
        self._config = config
        parts = config.vocabulary.chosen_parts("augment", config)
        self.are_capturable = all(part.is_capturable for part in parts)
        self.batch_size = min(config.integer("batch_size"), data.train_size)
        self.steps = steps_per_epoch(data.train_size, self.batch_size)
        self.generators: dict[str, torch.Generator] = {}
        self._normalize = normalization(config, data)
        self._first = torch.arange(self.batch_size, device=data.device)
        self._places = self._first.clone()
        self._taken = 0
        self._indices = torch.empty(self.steps * self.batch_size, dtype=torch.int64, device=data.device)
        self._augmentation: Augmentation | None = None
        self.version = 0
        labels = data.labels[data.train_indices]
        self._sampling = SAMPLINGS[config.text("sampling")](labels, data.train_counts, len(self._indices))

    def draw_epoch(self, epoch: int) -> None:
        """Draw order and augmentation of an epoch, counted from 1; the next batch is its first."""
        seed, size, device = self._config.integer("seed"), self._data.train_size, self._data.device
        generator = torch.Generator(device).manual_seed(derive_seed("order", seed, epoch))
        order = self._sampling(generator)
        torch.index_select(self._data.train_indices, 0, order, out=self._indices)
        drawn_for = Epoch(epoch, order, size, self.batch_size, self._data.image_shape[1])
        self._take_over(draw_augmentation(self._config, drawn_for, device, self.generators))
        self._places.copy_(self._first)
        self._taken = 0

    def _take_over(self, drawn: Augmentation) -> None:
        """Keep what was drawn in the tensors of the first epoch."""
        were_capturable = self.are_capturable
        self.are_capturable = were_capturable and not drawn.has_plain_functions
        if self._augmentation is None or not self.are_capturable or drawn.form != self._augmentation.form:
            self.version += were_capturable  # else the batches are made beside the graph, in whatever way
            self._augmentation = drawn
            return
        for target, source in zip(self._augmentation.parameters, drawn.parameters, strict=True):
            target.copy_(source)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Make the next batch of the epoch.

        Returns:
            As `training_batches` yields them.
        """
        augmentation = self._augmentation
        if augmentation is None:
            raise RuntimeError("no epoch was begun")
        # An augmentation of a plugin gets a slice.
        where: Places = self._places if self.are_capturable else slice(self._taken, self._taken + self.batch_size)
        self._taken += self.batch_size
        indices = self._indices[self._places]
        images = augmentation.images(self._data.images, indices, where, self._normalize)
        batch = augmentation.mixed(images, self._data.labels[indices], where, len(self._data.classes))
        self._places.add_(self.batch_size)
        return batch


def training_batches(data: ResidentData, config: Configuration, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch (`TrainingBatches`); no batch waits for the device.

    Yields:
        Images, float32 [B, 3, H, W] in channels_last memory format, and labels, int64 [B], or, where
        an augmentation mixes images, the share of each class in each of them, float32 [B, classes]. All batches have
        `batch_size` images; a split smaller than that is one batch.
    """
    batches = TrainingBatches(data, config)
    batches.draw_epoch(epoch)
    for _ in range(batches.steps):
        yield batches.next_batch()


def validation_batches(
    data: ResidentData, config: Configuration, batch_size: int = EVALUATION_BATCH
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the validation split in its own order, all of it: the last batch may be smaller.

    Yields:
        Images, float32 [B, 3, H, W] in channels_last memory format, and labels, int64 [B].
    """
    normalize = normalization(config, data)
    for start in range(0, data.val_size, batch_size):
        indices = data.val_indices[start : start + batch_size]
        yield normalize.apply(gather(data.images, indices)), data.labels[indices]


class ValidationBatches:
    """The batches of the validation split, again and again; the full ones are made as `TrainingBatches` makes its own.

    Args:
        data: the images, on the device.
        config: names the normalization.

    Attributes:
        full: batches of `EVALUATION_BATCH` images.
        batch_size: images of a batch at most.
    """

    def __init__(self, data: ResidentData, config: Configuration) -> None:
        self._data = data
        self._normalize = normalization(config, data)
        self.full = data.val_size // EVALUATION_BATCH
        self.batch_size = min(EVALUATION_BATCH, data.val_size)
        self._first = torch.arange(self.batch_size, device=data.device)
        self._places = self._first.clone()

    def begin(self) -> None:
        """The next batch is the first."""
        self._places.copy_(self._first)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Make the next full batch, as `validation_batches` yields them."""
        indices = self._data.val_indices[self._places]
        self._places.add_(EVALUATION_BATCH)
        return self._normalize.apply(gather(self._data.images, indices)), self._data.labels[indices]

    def rest(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images behind the full batches, if there are any."""
        indices = self._data.val_indices[self.full * EVALUATION_BATCH :]
        if len(indices):
            yield self._normalize.apply(gather(self._data.images, indices)), self._data.labels[indices]


def other_batches(
    images: Tensor, labels: Tensor, data: ResidentData, config: Configuration, batch_size: int = EVALUATION_BATCH
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images that are not part of `data`, in their own order, normalized as the training images of `data` are.

    Args:
        images: uint8 [N, H, W, 3], on the device of `data`.
        labels: int64 [N], there too.
        data: what was trained on.
        config: names the normalization.
        batch_size: of all batches but the last.

    Yields:
        Images, float32 [B, 3, H, W] in channels_last memory format, and labels, int64 [B].
    """
    normalize = normalization(config, data)
    for start in range(0, len(labels), batch_size):
        batch = slice(start, start + batch_size)
        yield normalize.apply(images[batch]), labels[batch]


def training_sample(data: ResidentData, config: Configuration, size: int) -> Tensor:
    """Draw training images, the same for the same `seed` on every device.

    Args:
        data: where they are.
        config: holds the seed and the normalization.
        size: how many; all of them where there are fewer.

    Returns:
        float32 [size, 3, H, W] on the CPU, normalised but not augmented.
    """
    generator = torch.Generator().manual_seed(derive_seed("sample", config.integer("seed")))
    chosen = torch.randperm(data.train_size, generator=generator)[:size]
    indices = data.train_indices[chosen.to(data.device)]
    return normalization(config, data).apply(gather(data.images, indices)).cpu()
