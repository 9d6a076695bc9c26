"""The training without a validation split: the same loop, on more images."""

import numpy as np
import pytest
import torch

from cifar_tune.data.batches import other_batches, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.insight.predictions import predict
from cifar_tune.knobs.part import Value
from cifar_tune.training.failures import Diverged
from cifar_tune.training.final import measure, train_without_validation
from cifar_tune.training.loop import Training

from .conftest import CPU, small

PLATEAU: dict[str, Value] = {"schedule": "plateau", "plateau_patience": 0, "gamma": 0.5, "epochs": 5}


@pytest.fixture
def merged(digits: ResidentData) -> ResidentData:
    return ResidentData(digits._prepared.merged(), CPU)


@pytest.mark.parametrize("chosen", [{"dropout": 0.3, "ema_decay": 0.9}, PLATEAU], ids=["one_cycle", "plateau"])
def test_on_the_same_images_it_is_the_training_of_the_trial(digits: ResidentData, chosen: dict[str, Value]) -> None:
    trial, final = (Training(small(augment=("random_crop",), **chosen), digits, CPU) for _ in range(2))
    results = list(trial.epochs())
    epochs = list(train_without_validation(final, [result.val_loss for result in results]))
    assert [epoch.train_loss for epoch in epochs] == [result.train_loss for result in results]
    for name, tensor in trial.learner.evaluated.state_dict().items():
        assert tensor.equal(final.learner.evaluated.state_dict()[name]), name


def test_plateau_lowers_the_learning_rate_after_the_epochs_of_the_trial(merged: ResidentData) -> None:
    training = Training(small(lr=0.08, **PLATEAU), merged, CPU)
    rates = [training.learner.lr for _ in train_without_validation(training, [1.0, 2.0, 0.5, 0.6, 0.7])]
    assert rates == [0.08, 0.08, 0.04, 0.04, 0.02]


def test_it_ends_after_as_many_epochs_as_the_trial_had(merged: ResidentData) -> None:
    training = Training(small(epochs=9), merged, CPU)
    assert [epoch.epoch for epoch in train_without_validation(training, [1.0, 0.9])] == [1, 2]


def test_all_images_of_both_splits_are_trained_on(digits: ResidentData, merged: ResidentData) -> None:
    assert (merged.train_size, merged.val_size) == (300, 0)
    both = [*digits.train_indices.tolist(), *digits.val_indices.tolist()]
    assert merged.train_indices.tolist() == sorted(both)
    pixels = digits.images[torch.tensor(sorted(both))].float()
    torch.testing.assert_close(merged.mean, pixels.mean((0, 1, 2)), rtol=1e-5, atol=1e-3)
    assert merged.fingerprint != digits.fingerprint


def test_other_images_are_normalized_as_those_that_were_trained_on(digits: ResidentData) -> None:
    images, labels = digits.images[digits.val_indices], digits.labels[digits.val_indices]
    found = list(other_batches(images, labels, digits, small(), batch_size=64))
    wanted = list(validation_batches(digits, small(), batch_size=64))
    assert [len(part) for _, part in found] == [64, 36]
    for (got, got_labels), (expected, expected_labels) in zip(found, wanted, strict=True):
        assert got.equal(expected)
        assert got_labels.equal(expected_labels)


def test_what_is_measured_is_what_validation_would_say(digits: ResidentData) -> None:
    training = Training(small(ema_decay=0.9), digits, CPU)
    last = list(training.epochs())[-1]
    prepared = digits._prepared
    images = np.ascontiguousarray(prepared.open_images()[prepared.val_indices])
    loss, accuracy, predictions = measure(training, images, prepared.labels[prepared.val_indices])
    assert (loss, accuracy) == (last.val_loss, last.val_accuracy)
    assert predictions.accuracy == pytest.approx(accuracy, abs=1e-7)
    torch.testing.assert_close(
        torch.from_numpy(predictions.probabilities), torch.from_numpy(predict(training).probabilities).double()
    )


def test_divergence_is_raised(merged: ResidentData) -> None:
    training = Training(small(lr=1e30, schedule="constant"), merged, CPU)
    with pytest.raises(Diverged, match="of epoch 1 is not finite"):
        list(train_without_validation(training, [1.0, 1.0]))
