"""Other devices than the CPU. Without a GPU, fake and meta tensors find mixed devices and waits, and no more."""

import warnings
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cifar_tune.data.augmentation import CoordinateMap, gather
from cifar_tune.data.batches import training_batches, validation_batches
from cifar_tune.data.normalization import normalization
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.table import NORMALIZATIONS

from .images import prepared_data

AUGMENTED = complete({"augment": ("random_crop", "horizontal_flip"), "batch_size": 16})


def _forward(device: str, name: str) -> torch.Tensor:
    images = torch.zeros(10, 8, 8, 3, dtype=torch.uint8, device=device)
    indices = torch.zeros(4, dtype=torch.int64, device=device)
    start, step = (torch.ones(4, dtype=torch.int32, device=device) for _ in range(2))
    shift = CoordinateMap(start, step, start, step, margin=1)
    mean, std = (torch.ones(3, device=device) for _ in range(2))
    return normalization(name, mean, std).apply(gather(images, indices, shift.then(shift)[0:4]))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_the_forward_path_stays_on_a_fake_cuda_device_and_never_waits(name: str) -> None:
    with FakeTensorMode():
        got = _forward("cuda:1", name)
    assert got.device == torch.device("cuda:1")
    assert got.shape == (4, 3, 8, 8)
    assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_the_forward_path_runs_on_meta(name: str) -> None:
    assert _forward("meta", name).shape == (4, 3, 8, 8)


def test_another_device_gets_the_images_of_the_two_splits_alone(tmp_path: Path) -> None:
    prepared = prepared_data(tmp_path, train=30, val=6)
    prepared.train_indices.resize(20)  # a partial data set
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
