"""A few steps on random images."""

import pytest

from cifar_tune.errors import CheckError, UserError
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.training.probe import probe

from .conftest import CPU, ONE_OF_EACH, small


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_every_model_runs(model: str) -> None:
    config = small(model=model, batch_size=4, epochs=1)
    result = probe(config, (3, 32, 32), 7, CPU, 100)
    assert result.parameters == count_parameters(build_model(config, (3, 32, 32), 7))
    assert result.seconds_per_step > 0


def test_images_that_are_too_small() -> None:
    with pytest.raises(UserError, match="at least 16x16"):
        probe(small(model="tutorial_net"), (3, 8, 8), 10, CPU, 100)


def test_a_batch_has_no_more_images_than_there_are() -> None:
    huge = small(model="tutorial_net", batch_size=1_000_000)
    assert probe(huge, (3, 32, 32), 10, CPU, train_size=8).parameters == 45_549


def test_a_model_that_does_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("cifar_tune.training.probe.Learner", full)
    with pytest.raises(CheckError, match="model cnn3 does not fit into the memory of cpu"):
        probe(small(model="cnn3"), (3, 32, 32), 10, CPU, 100)
