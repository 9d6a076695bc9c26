"""The images of a study where the model runs: uint8, on its device."""

import numpy as np
import torch
from torch import Tensor

from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.statistics import ChannelStatistics, channel_statistics, sampled_statistics


class ResidentData:
    """Training and validation images on one device.

    On the CPU the images are the memory-mapped cache itself, so that all processes share its pages. Other devices get a
    copy of the training and validation images alone.

    Attributes:
        device: where every tensor lives.
        images: uint8 [N, H, W, 3].
        labels: int64 [N].
        train_indices, val_indices: int64, into `images`.
        mean, std: float32 [3], per channel of the training images, in units of bytes (0 to 255).
        train_counts: training images of each class.
        classes, image_shape, fingerprint: as in `PreparedData`.
    """

    def __init__(self, prepared: PreparedData, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.classes = prepared.classes
        self.image_shape = prepared.image_shape
        self.fingerprint = prepared.fingerprint
        self.train_size = len(prepared.train_indices)
        self.val_size = len(prepared.val_indices)

        self.train_counts: tuple[int, ...] = tuple(
            np.bincount(prepared.labels[prepared.train_indices], minlength=len(prepared.classes)).tolist()
        )
        images = prepared.open_images()
        labels, train, val = prepared.labels, prepared.train_indices, prepared.val_indices
        if self.device.type != "cpu":
            rows = np.concatenate([train, val])
            images, labels = images[rows], labels[rows]
            train, val = np.arange(len(train)), np.arange(len(train), len(rows))

        self.images = torch.from_numpy(images).to(self.device)
        self.labels = torch.from_numpy(labels).to(self.device)
        self.train_indices = torch.from_numpy(train).to(self.device)
        self.val_indices = torch.from_numpy(val).to(self.device)

        self._prepared = prepared
        self._sampled: dict[tuple[float, int], tuple[Tensor, Tensor]] = {}
        self.mean, self.std = self._on_device(channel_statistics(prepared))

    def validation_path(self, position: int) -> str | None:
        """The file of an image of the validation split, below `data.root`; None where it has none of its own."""
        paths = self._prepared.paths
        return paths[self._prepared.val_indices[position]] if paths else None

    def statistics(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation per channel, float32 [3] each, in units of bytes, as `mean` and `std`.

        Args:
            share: of the training images that they are taken from, more than 0; 1 for all of them.
            seed: draws these images; with all of them it changes nothing.
        """
        if share == 1:
            return self.mean, self.std
        if (share, seed) not in self._sampled:
            self._sampled[share, seed] = self._on_device(sampled_statistics(self._prepared, share, seed))
        return self._sampled[share, seed]

    def _on_device(self, statistics: ChannelStatistics) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=self.device)
            for values in (statistics.mean, statistics.std)
        )
        return mean, std
