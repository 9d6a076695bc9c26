"""When a training is over."""

import pytest

from cifar_tune.data.resident import ResidentData
from cifar_tune.training.loop import Training
from cifar_tune.training.results import EpochResult, epochs_without_progress, is_over

from .conftest import CPU, small


def history(*figures: tuple[float, float]) -> list[EpochResult]:
    """Epochs with these validation losses and accuracies."""
    return [EpochResult(epoch, 1.0, 0.5, loss, accuracy, 0.1, 1.0) for epoch, (loss, accuracy) in enumerate(figures, 1)]


@pytest.mark.parametrize(
    ("figures", "waited"),
    [
        ([], 0),
        ([(2.0, 0.0)], 0),
        ([(2.0, 0.1), (1.0, 0.1)], 0),
        ([(2.0, 0.1), (3.0, 0.2)], 0),
        ([(2.0, 0.1), (2.0, 0.1)], 1),
        ([(2.0, 0.1), (3.0, 0.1), (2.5, 0.05)], 2),
        ([(2.0, 0.1), (3.0, 0.1), (1.9, 0.05), (1.95, 0.1)], 1),
    ],
)
def test_either_figure_is_progress(figures: list[tuple[float, float]], waited: int) -> None:
    assert epochs_without_progress(history(*figures)) == waited


@pytest.mark.parametrize(("patience", "over"), [(0, False), (1, True), (2, True), (3, False)])
def test_patience(patience: int, over: bool) -> None:
    results = history((1.0, 0.3), (2.0, 0.2), (2.0, 0.2))
    assert is_over(small(epochs=9, patience=patience), results) is over
    assert is_over(small(epochs=3, patience=patience), results)


def test_training_ends_early_and_stays_ended(digits: ResidentData) -> None:
    config = small(epochs=9, patience=2)
    training = Training(config, digits, CPU)
    for result in training.epochs():
        if result.epoch == 1:
            # What follows is no better than this.
            training.results[0] = EpochResult(1, 1.0, 1.0, 0.0, 1.0, 0.1, 1.0)
    assert len(training.results) == 3
    continued = Training(config, digits, CPU)
    continued.load_state_dict(training.state_dict())
    assert list(continued.epochs()) == []
