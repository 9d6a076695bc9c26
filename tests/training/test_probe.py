"""A few steps on random images."""

import pytest

from cifar_tune.errors import UserError
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.training.probe import probe

from .conftest import CPU, ONE_OF_EACH, small


@pytest.mark.parametrize("model", ONE_OF_EACH)
def test_every_model_runs(model: str) -> None:
    config = small(model=model, batch_size=4, epochs=1)
    result = probe(config, (3, 32, 32), 7, CPU)
    assert result.parameters == count_parameters(build_model(config, (3, 32, 32), 7))
    assert result.seconds_per_step > 0


def test_images_that_are_too_small() -> None:
    with pytest.raises(UserError, match="at least 16x16"):
        probe(small(model="tutorial_net"), (3, 8, 8), 10, CPU)
