"""Other devices than the CPU. Without a GPU, fake and meta tensors find mixed devices and waits, and no more."""

import warnings
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from cifar_tune.data.augmentation.draw import Draw, Epoch
from cifar_tune.data.augmentation.pipeline import combined
from cifar_tune.data.batches import training_batches, validation_batches
from cifar_tune.data.normalization import normalization
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.normalizations import NORMALIZATIONS

from .images import prepared_data

AUGMENTED = complete({"augment": ("random_crop", "horizontal_flip"), "batch_size": 16})


class _Undrawn(Draw):
    """Draws nothing: fake and meta devices have no generators."""

    def integers(self, high: int, count: int | None = None) -> Tensor:
        return torch.zeros(self.count if count is None else count, dtype=torch.int32, device=self.epoch.order.device)

    def uniform(self, low: float, high: float) -> Tensor:
        return torch.full((self.count,), (low + high) / 2, device=self.epoch.order.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.epoch.order.device)

    def beta(self, alpha: float) -> Tensor:
        return torch.full((self.count,), 0.5, device=self.epoch.order.device)

    def order(self, size: int) -> Tensor:
        batches = self.count // self.epoch.batch_size
        return torch.zeros(batches, size, dtype=torch.int64, device=self.epoch.order.device)


class _Statistics:
    """What a normalization asks of the data."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def statistics(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        return torch.ones(3, device=self.device), torch.ones(3, device=self.device)


def _forward(device: str, augment: tuple[str, ...], normalization_name: str) -> tuple[Tensor, Tensor]:
    config = complete({"augment": augment, "normalization": normalization_name})
    images = torch.zeros(10, 8, 8, 3, dtype=torch.uint8, device=device)
    order = torch.zeros(8, dtype=torch.int64, device=device)
    epoch = Epoch(1, order, 10, 4, 8)
    augmentation = combined(config, epoch, lambda _: _Undrawn(torch.Generator(), epoch))
    batch = slice(4, 8)
    normalize = normalization(config, cast(ResidentData, _Statistics(device)))
    return augmentation.mixed(augmentation.images(images, order[batch], batch, normalize), order[batch], batch, 10)


EVERYTHING = [
    *((tuple(AUGMENTATIONS), name) for name in NORMALIZATIONS),
    *(((name,), "standardize") for name in AUGMENTATIONS),
]
forward_paths = pytest.mark.parametrize(
    ("augment", "name"), EVERYTHING, ids=["+".join((*augment[:2], name)) for augment, name in EVERYTHING]
)


@forward_paths
def test_the_forward_path_stays_on_a_fake_cuda_device_and_never_waits(augment: tuple[str, ...], name: str) -> None:
    with FakeTensorMode():
        images, labels = _forward("cuda:1", augment, name)
    assert {images.device, labels.device} == {torch.device("cuda:1")}
    assert images.shape == (4, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert len(labels) == 4


@forward_paths
def test_the_forward_path_runs_on_meta(augment: tuple[str, ...], name: str) -> None:
    images, labels = _forward("meta", augment, name)
    assert {images.device.type, labels.device.type} == {"meta"}
    assert images.shape == (4, 3, 8, 8)


def test_another_device_gets_the_images_of_the_two_splits_alone(tmp_path: Path) -> None:
    prepared = prepared_data(tmp_path, train=30, val=6)
    prepared.train_indices.resize(20, refcheck=False)  # a partial data set
    data = ResidentData(prepared, "meta")
    assert data.images.shape == (26, 8, 8, 3)
    assert data.labels.shape == (26,)
    assert (data.train_size, data.val_size) == (20, 6)
    tensors = (data.images, data.labels, data.train_indices, data.val_indices, data.mean, data.std)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_on_the_cpu_the_images_are_the_map_itself(tmp_path: Path) -> None:
    prepared = prepared_data(tmp_path, train=30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = ResidentData(prepared, "cpu")
    assert str(prepared.images_path) in Path("/proc/self/maps").read_text()
    assert data.images.shape == (34, 8, 8, 3)
    assert data.classes == prepared.classes
    assert data.image_shape == (3, 8, 8)
    assert data.fingerprint == prepared.fingerprint


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_augmentation_waits_for_a_cuda_device(tmp_path: Path, name: str) -> None:
    data = ResidentData(prepared_data(tmp_path, train=64, val=8), "cuda")
    config = complete({"augment": (name,), "batch_size": 16})
    epoch = training_batches(data, config, 1)
    first, _ = next(epoch)
    assert torch.equal(next(training_batches(data, config, 1))[0], first)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(epoch)) == 3
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_sees_the_same_images(tmp_path: Path) -> None:
    prepared = prepared_data(tmp_path, train=64, val=8)
    on_cpu, on_cuda = ResidentData(prepared, "cpu"), ResidentData(prepared, "cuda")
    [(expected, expected_labels)] = validation_batches(on_cpu, AUGMENTED)
    [(got, got_labels)] = validation_batches(on_cuda, AUGMENTED)
    torch.testing.assert_close(got.cpu(), expected)
    assert torch.equal(got_labels.cpu(), expected_labels)
    epoch = training_batches(on_cuda, AUGMENTED, 1)
    first, _ = next(epoch)
    assert torch.equal(next(training_batches(on_cuda, AUGMENTED, 1))[0], first)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(epoch)) == 3  # no batch after the first waits for the device
    finally:
        torch.cuda.set_sync_debug_mode("default")
