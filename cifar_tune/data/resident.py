"""The images of a study where the model runs: uint8, on its device."""

import numpy as np
import torch
from torch import Tensor

from cifar_tune.data.prepared import PreparedData
from cifar_tune.data.statistics import channel_statistics


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
        classes, image_shape, fingerprint: as in `PreparedData`.
    """

    def __init__(self, prepared: PreparedData, device: torch.device | str) -> None:
        self.device = torch.device(device)
        self.classes = prepared.classes
        self.image_shape = prepared.image_shape
        self.fingerprint = prepared.fingerprint
        self.train_size = len(prepared.train_indices)
        self.val_size = len(prepared.val_indices)

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

        statistics = channel_statistics(prepared)
        self.mean: Tensor = torch.tensor(statistics.mean, dtype=torch.float32, device=self.device)
        self.std: Tensor = torch.tensor(statistics.std, dtype=torch.float32, device=self.device)
