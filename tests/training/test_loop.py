"""The loop: what an epoch is, and that it can be repeated and continued bit for bit."""

import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cifar_tune.data.batches import training_sample, validation_batches
from cifar_tune.data.resident import ResidentData
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.models.airbench_net import Whitening
from cifar_tune.training.checkpoint import CheckpointWriter
from cifar_tune.training.checkpoint_fit import go_on
from cifar_tune.training.failures import Diverged
from cifar_tune.training.loop import Training
from cifar_tune.training.results import EpochResult
from tests.exhaustive import few_of, first_of_each

from .conftest import CPU, small

RANDOM: dict[str, Value] = {"dropout": 0.3, "augment": ("random_crop", "horizontal_flip")}
"""Everything that draws random numbers during an epoch."""


def figures(results: list[EpochResult]) -> list[dict[str, Any]]:
    """Everything but the time it took."""
    return [{name: value for name, value in r.as_dict().items() if name != "seconds"} for r in results]


def finished(config: Configuration, data: ResidentData) -> Training:
    training = Training(config, data, CPU)
    assert list(training.epochs()) == training.results
    return training


def assert_same(first: Training, second: Training) -> None:
    assert figures(first.results) == figures(second.results)
    for name, tensor in first.learner.model.state_dict().items():
        assert tensor.equal(second.learner.model.state_dict()[name]), name
    for name, tensor in first.learner.evaluated.state_dict().items():
        assert tensor.equal(second.learner.evaluated.state_dict()[name]), name


@pytest.mark.parametrize("epochs", [1, 3])
def test_one_result_per_epoch(digits: ResidentData, epochs: int) -> None:
    results = list(Training(small(epochs=epochs), digits, CPU).epochs())
    assert [result.epoch for result in results] == list(range(1, epochs + 1))
    assert all(0 <= r.train_accuracy <= 1 and 0 <= r.val_accuracy <= 1 and r.seconds > 0 for r in results)


@pytest.mark.parametrize(("batch_size", "steps"), [(50, 4), (64, 3), (200, 1), (500, 1)])
def test_batch_size_is_the_images_of_a_step(
    digits: ResidentData, monkeypatch: pytest.MonkeyPatch, batch_size: int, steps: int
) -> None:
    training = Training(small(batch_size=batch_size, epochs=1), digits, CPU)
    step, sizes = training.learner.train_step, []

    def counted(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(images))
        return step(images, labels)

    monkeypatch.setattr(training.learner, "train_step", counted)
    list(training.epochs())
    assert sizes == [min(batch_size, 200)] * steps


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_hold_during_the_steps(digits: ResidentData, threads: int) -> None:
    training = Training(small(threads=threads, epochs=2, batch_size=200), digits, CPU)
    torch.set_num_threads(3 - threads)
    for _ in training.epochs():
        assert torch.get_num_threads() == threads
        torch.set_num_threads(3 - threads)


def test_every_epoch_draws_anew(digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(small(batch_size=200, **RANDOM), digits, CPU)
    step = training.learner.train_step
    orders, dropped = [], []

    def noted(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        orders.append(tuple(labels.tolist()))
        dropped.append(torch.initial_seed())
        return step(images, labels)

    monkeypatch.setattr(training.learner, "train_step", noted)
    list(training.epochs())
    assert len(set(orders)) == len(set(dropped)) == 3


def test_training_figures_are_means_over_the_epoch(digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(small(batch_size=50, epochs=1), digits, CPU)
    steps = iter([(1.0, 10), (2.0, 20), (3.0, 30), (6.0, 40)])

    def scripted(_images: Tensor, _labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, right = next(steps)
        return torch.tensor(loss), torch.tensor(right)

    monkeypatch.setattr(training.learner, "train_step", scripted)
    (result,) = training.epochs()
    assert (result.train_loss, result.train_accuracy) == (3.0, 0.5)


def test_it_learns(digits: ResidentData) -> None:
    training = finished(small(width=8, epochs=15, lr=0.05), digits)
    assert training.results[-1].val_accuracy > 0.6
    assert training.results[-1].train_loss < training.results[0].train_loss


def test_results_tell_the_learning_rate_of_the_last_step(digits: ResidentData) -> None:
    config = small(schedule="step", step_size=1, gamma=0.5)
    rates = [result.lr for result in Training(config, digits, CPU).epochs()]
    assert rates == pytest.approx([0.01, 0.005, 0.0025])


def test_validation_loss_has_no_label_smoothing(digits: ResidentData) -> None:
    plain, smooth = (
        finished(small(label_smoothing=share, epochs=1, lr=1e-30), digits).results[0] for share in (0.0, 0.9)
    )
    assert plain.val_loss == smooth.val_loss
    assert plain.train_loss != smooth.train_loss


@pytest.mark.parametrize("loss", LOSSES)
def test_validation_loss_is_cross_entropy_whatever_is_minimised(digits: ResidentData, loss: str) -> None:
    training = finished(small(loss=loss, epochs=1), digits)
    images, labels = zip(*validation_batches(digits, training.config), strict=True)
    with torch.inference_mode():
        logits = training.learner.evaluated(torch.cat(images))
    expected = functional.cross_entropy(logits, torch.cat(labels)).item()
    assert training.results[0].val_loss == pytest.approx(expected, rel=1e-5)


def test_the_schedule_is_told_the_validation_loss(digits: ResidentData, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(small(), digits, CPU)
    told: list[float] = []
    monkeypatch.setattr(training.learner.schedule, "after_epoch", told.append)
    assert [result.val_loss for result in training.epochs()] == told


def test_a_plateau_lowers_the_learning_rate(digits: ResidentData) -> None:
    training = Training(small(schedule="plateau", plateau_patience=0, gamma=0.5, epochs=6), digits, CPU)
    scheduler = training.learner.schedule.scheduler
    assert isinstance(scheduler, ReduceLROnPlateau)
    for _ in training.epochs():
        scheduler.best = -1.0  # nothing can be better
    assert [result.lr for result in training.results] == pytest.approx([0.01 * 0.5 ** max(0, n - 1) for n in range(6)])


KNOBS_THAT_CHANGE_THE_RESULT: list[dict[str, Value]] = [
    {"seed": 1},
    {"batch_size": 50},
    {"dropout": 0.5},
    {"activation": "silu"},
    {"augment": ("random_crop",)},
    {"augment": ("mixup", "gaussian_noise")},
    {"normalization_sample": 0.1},
    {"weight_decay": 0.5},
    {"label_smoothing": 0.5},
    {"loss": "focal"},
    {"warmup_epochs": 2.0},
    {"clip_grad_norm": 0.01},
    {"l1": 0.5},
    {"ema_decay": 0.9},
    {"lookahead": "constant"},
    {"norm_bias_lr_factor": 8.0},
    {"bn_momentum": 0.5},
    {"test_time_augmentation": "mirror"},
    {"normalization": "zero_one"},
    {"precision": "bf16"},
]


@pytest.fixture(scope="module")
def plain_figures(digits: ResidentData) -> list[dict[str, Any]]:
    return figures(finished(small(), digits).results)


@pytest.mark.parametrize("change", KNOBS_THAT_CHANGE_THE_RESULT, ids=lambda change: next(iter(change)))
def test_the_knob_changes_the_result(
    digits: ResidentData, plain_figures: list[dict[str, Any]], change: dict[str, Value]
) -> None:
    assert figures(finished(small(**change), digits).results) != plain_figures


def test_parameters_and_precision_are_told(digits: ResidentData) -> None:
    training = Training(small(), digits, CPU)
    assert training.parameters == sum(weight.numel() for weight in training.learner.model.parameters())
    assert training.precision == "fp32"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_seed_gives_the_same_bits(digits: ResidentData, precision: str) -> None:
    config = small(**RANDOM, precision=precision)
    first = finished(config, digits)
    finished(small(model="cnn3", optimizer="adam", threads=2, seed=5, epochs=1, batch_size=100, **RANDOM), digits)
    torch.rand(17)
    assert_same(first, finished(config, digits))


def test_trainings_that_take_turns_do_not_disturb_each_other(digits: ResidentData) -> None:
    one, two = (small(threads=threads, batch_size=100, epochs=2, **RANDOM) for threads in (1, 2))
    first, second = Training(one, digits, CPU), Training(two, digits, CPU)
    for _ in zip(first.epochs(), second.epochs(), strict=True):
        pass
    assert_same(first, finished(one, digits))
    assert_same(second, finished(two, digits))


EVERYTHING_WITH_A_STATE: list[dict[str, Value]] = [
    *[dict[str, Value](optimizer=optimizer) for optimizer in OPTIMIZERS],
    {"optimizer": "adamw_schedule_free", "schedule": "constant", "warmup_epochs": 1.2, "decay_norm_and_bias": False},
    *[dict[str, Value](schedule=schedule, warmup_epochs=1.2) for schedule in SCHEDULES],
    *[dict[str, Value](loss=loss) for loss in LOSSES],
    {"ema_decay": 0.9},
    {"optimizer": "muon", "schedule": "cyclic", "ema_decay": 0.9, "decay_norm_and_bias": False, "warmup_epochs": 0.5},
    {"optimizer": "lion", "schedule": "plateau", "lr": 0.5, "plateau_patience": 0, "gamma": 0.2},
    {"clip_grad_norm": 0.5, "l1": 1e-3, "patience": 2},
    {"lookahead": "constant", "lookahead_steps": 4},
    {"lookahead": "cubic", "optimizer": "muon", "norm_bias_lr_factor": 8.0, "test_time_augmentation": "multi_crop"},
    {"sampling": "balanced", "class_weights": '{"3": 2.0}'},
]

FEW = first_of_each(EVERYTHING_WITH_A_STATE, tuple)


@pytest.mark.parametrize(
    "chosen", few_of(EVERYTHING_WITH_A_STATE, FEW), ids=lambda chosen: "-".join(map(str, chosen.values()))
)
def test_continued_equals_undisturbed(digits: ResidentData, tmp_path: Path, chosen: dict[str, Value]) -> None:
    """After the first and the second of three epochs, by way of a file, as an executor writes and reads it."""
    config = small(**{"step_size": 1, "batch_size": 64, **chosen, **RANDOM})
    undisturbed = Training(config, digits, CPU)
    for result in undisturbed.epochs():
        writer = CheckpointWriter(tmp_path / f"{result.epoch}.pt")
        writer.write(undisturbed.state_dict())
        writer.finish()
    for after in (1, 2):
        continued = Training(config, digits, CPU)
        go_on(continued, tmp_path / f"{after}.pt")
        assert len(list(continued.epochs())) == len(undisturbed.results) - after
        assert_same(continued, undisturbed)


FAST_RECIPE: dict[str, Value] = {
    "model": "airbench_net",
    "whitening_bias_epochs": 1,
    "norm_bias_lr_factor": 64.0,
    "lookahead": "cubic",
    "schedule": "triangular",
    "test_time_augmentation": "multi_crop",
    "lr": 0.1,
    "augment": ("random_crop", "alternating_flip"),
}


@pytest.mark.parametrize("chosen", [{}, {"ema_decay": 0.9}, {"optimizer": "muon"}], ids=["sgd", "ema", "muon"])
def test_the_fast_recipe_continued_equals_undisturbed(
    larger_digits: ResidentData, tmp_path: Path, chosen: dict[str, Value]
) -> None:
    test_continued_equals_undisturbed(larger_digits, tmp_path, {**FAST_RECIPE, **chosen, "dropout": 0.3})


def whitening(config: Configuration, data: ResidentData) -> Tensor:
    fitted: Tensor = Training(config, data, CPU).learner.model.get_buffer("whitening.weight")
    return fitted


def test_a_fitted_model_is_fitted_to_training_images_before_the_first_epoch(larger_digits: ResidentData) -> None:
    config = small(**FAST_RECIPE)
    sample = training_sample(larger_digits, config, 5000)
    assert len(sample) == larger_digits.train_size
    expected = Whitening(3)
    expected.fit(sample)
    torch.testing.assert_close(whitening(config, larger_digits), expected.weight)


def test_its_fitting_draws_no_random_number_of_the_training(larger_digits: ResidentData) -> None:
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    training_sample(larger_digits, small(**FAST_RECIPE), 100)
    assert torch.rand(1).equal(first)


def test_a_sample_follows_the_seed(larger_digits: ResidentData) -> None:
    first, again, other = (training_sample(larger_digits, small(seed=seed), 50) for seed in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)
    everything = {image.numpy().tobytes() for image in training_sample(larger_digits, small(), 200)}
    assert {image.numpy().tobytes() for image in first} <= everything


def test_the_average_of_a_fitted_model_is_fitted(larger_digits: ResidentData) -> None:
    learner = Training(small(**FAST_RECIPE, ema_decay=0.9), larger_digits, CPU).learner
    assert learner.averaged is not None
    assert learner.averaged.model.get_buffer("whitening.weight").equal(learner.model.get_buffer("whitening.weight"))


def test_what_is_fitted_does_not_learn_and_the_bias_only_for_a_while(larger_digits: ResidentData) -> None:
    training = Training(small(**FAST_RECIPE), larger_digits, CPU)
    model = training.learner.model
    fitted, bias = model.get_buffer("whitening.weight").clone(), model.get_parameter("whitening.bias").detach()
    seen = [bias.clone(), *(bias.clone() for _ in training.epochs())]
    assert model.get_buffer("whitening.weight").equal(fitted)
    assert [one.equal(seen[1]) for one in seen] == [False, True, True, True]


def test_the_fast_recipe_learns(larger_digits: ResidentData) -> None:
    recipe = {**FAST_RECIPE, "augment": ("random_crop",), "crop_padding": 1, "lr": 1.0, "bn_momentum": 0.4}
    training = finished(small(**recipe, width=8, epochs=10), larger_digits)
    assert training.results[-1].val_accuracy > 0.35  # chance is 0.1


def test_continued_with_two_threads(digits: ResidentData) -> None:
    config = small(model="cnn3", threads=2, batch_size=100, epochs=2, **RANDOM)
    interrupted = Training(config, digits, CPU)
    next(interrupted.epochs())
    continued = Training(config, digits, CPU)
    continued.load_state_dict(deepcopy(interrupted.state_dict()))
    list(continued.epochs())
    assert_same(continued, finished(config, digits))


def test_loading_a_state_shares_no_memory_with_it(digits: ResidentData) -> None:
    first, second = Training(small(), digits, CPU), Training(small(), digits, CPU)
    next(first.epochs())
    second.load_state_dict(first.state_dict())
    kept = deepcopy(first.state_dict())
    list(second.epochs())
    for name, tensor in first.state_dict()["model"].items():
        assert tensor.equal(kept["model"][name]), name
    for index, moments in first.state_dict()["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert tensor.equal(kept["optimizer"]["state"][index][name]), name


def test_it_goes_on_from_a_state(digits: ResidentData) -> None:
    training = Training(small(), digits, CPU)
    next(training.epochs())
    state = deepcopy(training.state_dict())
    continued = Training(small(), digits, CPU)
    continued.load_state_dict(state)
    assert [result.epoch for result in continued.epochs()] == [2, 3]


def test_a_finished_training_has_nothing_left(digits: ResidentData) -> None:
    continued = Training(small(epochs=1), digits, CPU)
    continued.load_state_dict(finished(small(epochs=1), digits).state_dict())
    assert list(continued.epochs()) == []


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_divergence_is_raised(digits: ResidentData, optimizer: str) -> None:
    training = Training(small(lr=1e30, optimizer=optimizer, schedule="constant"), digits, CPU)
    with pytest.raises(Diverged, match="of epoch 1 is not finite"):
        list(training.epochs())
    assert training.results == []


def test_divergence_in_a_later_epoch(digits: ResidentData) -> None:
    training = Training(small(), digits, CPU)
    epochs = training.epochs()
    next(epochs)
    with torch.no_grad():
        next(training.learner.model.parameters()).fill_(torch.nan)
    with pytest.raises(Diverged) as error:
        next(epochs)
    assert (error.value.epoch, error.value.what) == (2, "training loss")
    assert len(training.results) == 1


def test_divergence_of_the_validation_loss_alone(digits: ResidentData) -> None:
    """The running statistics of batch norm are used in validation only."""
    training = Training(small(epochs=1), digits, CPU)
    training.learner.model.get_buffer("features.1.running_var").fill_(torch.nan)
    with pytest.raises(Diverged) as error:
        list(training.epochs())
    assert error.value.what == "validation loss"


def test_divergence_survives_its_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Diverged(4, "training loss")))  # noqa: S301  our own bytes
    assert (error.epoch, error.what, str(error)) == (4, "training loss", str(Diverged(4, "training loss")))
