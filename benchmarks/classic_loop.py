"""The training loop that everybody writes: a torchvision-style dataset, PIL transforms, a DataLoader, fp32, eager."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.statistics import channel_statistics
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.models.build import build_model

_EVALUATION_BATCH = 500


class ArrayDataset(Dataset[tuple[Tensor, int]]):
    """Images in memory, handed out as torchvision's `CIFAR10` does: made a PIL image, then transformed.

    (`ImageFolder` would also decode a file each time, and be slower.)
    """

    def __init__(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], transform: Any) -> None:
        self._images = images
        self._labels = labels
        self._transform = transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), int(self._labels[index])


@dataclass(frozen=True, slots=True)
class ClassicResult:
    """Seconds from building the model to the end of the last evaluation, and the last validation accuracy."""

    seconds: float
    val_accuracy: float


class ClassicData:
    """Training and validation images in memory."""

    def __init__(self, spec: DataSpec) -> None:
        prepared = prepare(spec)
        images = np.array(prepared.open_images())
        self.classes = len(prepared.classes)
        self.image_shape = prepared.image_shape
        self.train = (images[prepared.train_indices], prepared.labels[prepared.train_indices])
        self.val = (images[prepared.val_indices], prepared.labels[prepared.val_indices])
        statistics = channel_statistics(prepared)
        self.normalize = transforms.Normalize(
            [float(value) / 255 for value in statistics.mean], [float(value) / 255 for value in statistics.std]
        )


def train_classic(config: Configuration, data: ClassicData, workers: int) -> ClassicResult:
    """Train the configuration to its end; `workers` are the DataLoader's."""
    started = time.perf_counter()
    accuracy = 0.0
    for accuracy in classic_epochs(config, data, workers):  # noqa: B007 (the last one counts)
        pass
    return ClassicResult(time.perf_counter() - started, accuracy)


def classic_epochs(config: Configuration, data: ClassicData, workers: int) -> Iterator[float]:
    """Yield the validation accuracy after each epoch.

    It takes model, optimizer (sgd or adamw), one_cycle schedule, label smoothing and the augmentations random_crop and
    horizontal_flip from the configuration.
    """
    torch.manual_seed(config.integer("seed"))
    train, val = _loaders(config, data, workers)
    model = build_model(config, data.image_shape, data.classes)
    optimizer = _optimizer(config, model)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.number("lr"), config.integer("epochs") * len(train), cycle_momentum=False
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=config.number("label_smoothing"))
    for _ in range(config.integer("epochs")):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
        yield _accuracy(model, val)


def classic_steps(
    config: Configuration, data: ClassicData, workers: int, device: torch.device, amp: bool
) -> Iterator[int]:
    """Train for ever, epoch after epoch without validation, and yield after each step how many images it took.

    On a GPU with what its tutorials advise: pinned memory, copies that do not wait, workers that stay. `amp` is
    autocast, in bfloat16 where the device has it, else in float16 with a scaled loss.
    """
    torch.manual_seed(config.integer("seed"))
    train, _ = _loaders(config, data, workers, pinned=device.type == "cuda")
    model = build_model(config, data.image_shape, data.classes).to(device)
    optimizer = _optimizer(config, model)
    dtype = torch.bfloat16 if device.type == "cpu" or torch.cuda.is_bf16_supported() else torch.float16
    scaler = torch.amp.GradScaler(device.type, enabled=amp and dtype == torch.float16)
    criterion = nn.CrossEntropyLoss(label_smoothing=config.number("label_smoothing"))
    model.train()
    while True:
        for images, labels in train:
            inputs, targets = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype, enabled=amp):
                loss = criterion(model(inputs), targets)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            yield len(targets)


def _loaders(
    config: Configuration, data: ClassicData, workers: int, pinned: bool = False
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    steps: list[Any] = []
    if "random_crop" in config.names("augment"):
        steps.append(transforms.RandomCrop(data.image_shape[1], padding=4))
    if "horizontal_flip" in config.names("augment"):
        steps.append(transforms.RandomHorizontalFlip())
    plain = [transforms.ToTensor(), data.normalize]
    train = ArrayDataset(*data.train, transforms.Compose([*steps, *plain]))
    val = ArrayDataset(*data.val, transforms.Compose(plain))
    batch = min(config.integer("batch_size"), len(train))
    return (
        DataLoader(
            train,
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            pin_memory=pinned,
            persistent_workers=pinned and workers > 0,
        ),
        DataLoader(val, _EVALUATION_BATCH, num_workers=workers),
    )


def _optimizer(config: Configuration, model: nn.Module) -> torch.optim.Optimizer:
    lr, decay = config.number("lr"), config.number("weight_decay")
    if config.text("optimizer") == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=config.number("momentum"), weight_decay=decay)


@torch.no_grad()
def _accuracy(model: nn.Module, loader: DataLoader[Any]) -> float:
    model.eval()
    right = seen = 0
    for images, labels in loader:
        right += int((model(images).argmax(1) == labels).sum())
        seen += len(labels)
    return right / seen
