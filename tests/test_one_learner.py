"""Whatever takes training steps on real images takes the same ones: those of a learner that is built in one way."""

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

import cifar_tune
from cifar_tune.data.resident import ResidentData
from cifar_tune.insight.landscape import landscape_run
from cifar_tune.insight.lr_range import growing_lrs, lr_range_test
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.final import train_without_validation
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training
from cifar_tune.training.probe import Rehearsal, few_steps, probe, probe_plugins

from .digits import CPU, digits_of, small_of

FACTOR = 64.0
CONFIG = small_of(
    model="airbench_net", epochs=3, batch_size=50, whitening_bias_epochs=1, norm_bias_lr_factor=FACTOR, lr=1e-3
)
STEPS = 4
"""Of an epoch."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ResidentData:
    """200 training images of 12x12 pixels."""
    torch.set_num_threads(1)
    return digits_of(12, tmp_path_factory)


@dataclass
class Seen:
    """What a learner was asked for, a letter for each begin and end of an epoch and each step; and how it was then."""

    events: str = ""
    epoch: int = 0
    whitenings: list[Tensor] = field(default_factory=list)
    learns_bias: list[tuple[int, bool]] = field(default_factory=list)
    in_training: set[bool] = field(default_factory=set)
    shares: set[float] = field(default_factory=set)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen()
    step, begin, end = Learner.train_step, Learner.begin_epoch, Learner.end_epoch

    def spied_step(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        found.events += "s"
        found.whitenings.append(learner.model.get_buffer("whitening.weight").clone())
        found.learns_bias.append((found.epoch, learner.model.get_parameter("whitening.bias").requires_grad))
        found.in_training.add(learner.model.training)
        first, *_, last = learner.optimizer.param_groups
        found.shares.add(round(last["lr"] / first["lr"], 9))
        return step(learner, images, labels)

    def spied_begin(learner: Learner, epoch: int) -> None:
        found.events += "b"
        found.epoch = epoch
        begin(learner, epoch)

    def spied_end(learner: Learner) -> None:
        found.events += "e"
        end(learner)

    monkeypatch.setattr(Learner, "train_step", spied_step)
    monkeypatch.setattr(Learner, "begin_epoch", spied_begin)
    monkeypatch.setattr(Learner, "end_epoch", spied_end)
    return found


USERS: dict[str, Callable[[Configuration, ResidentData], object]] = {
    "training": lambda config, data: list(Training(config, data, CPU).epochs()),
    "finalize": lambda config, data: list(train_without_validation(Training(config, data, CPU), [1.0, 1.0])),
    "check": lambda config, data: probe(config, data, CPU),
    "check of plugins": lambda config, data: probe_plugins(config, data, CPU),
    "rehearsal": lambda config, data: Rehearsal(config, data, CPU).images_per_second(1e-9),
    "memory of a rehearsal": lambda config, data: [*few_steps(config, data, CPU)],
    "lr-range": lambda config, data: lr_range_test(config, data, CPU, growing_lrs(1e-5, 1e-3, 9), lambda *_: None),
    "landscape": lambda config, data: landscape_run(config, data, CPU, (1,), False, lambda *_: None),
    "landscape on one batch": lambda config, data: landscape_run(config, data, CPU, (1,), True, lambda *_: None),
}


@pytest.mark.parametrize("user", USERS)
def test_every_user_trains_in_the_same_way(user: str, data: ResidentData, seen: Seen) -> None:
    expected = Training(CONFIG, data, CPU).learner.model.get_buffer("whitening.weight").clone()
    USERS[user](CONFIG, data)
    assert all(each.equal(expected) for each in seen.whitenings)
    assert re.fullmatch("bs+(ebs+)*e?", seen.events)
    assert all(len(steps) <= STEPS for steps in re.findall("s+", seen.events))
    assert all(learns == (epoch == 1) for epoch, learns in seen.learns_bias)
    assert seen.in_training == {True}
    assert seen.shares == {FACTOR}


def test_a_random_whitening_is_another_one(data: ResidentData) -> None:
    """Else the test above could not fail."""
    fitted = Training(CONFIG, data, CPU).learner.model.get_buffer("whitening.weight")
    alone = Learner(CONFIG, data.image_shape, 10, CPU, STEPS).model.get_buffer("whitening.weight")
    assert not fitted.equal(alone)


def test_there_is_no_other_way() -> None:
    """Nothing else builds a learner, sets a learning rate, or tells a model which epoch begins."""
    found: dict[str, set[str]] = {"Learner": set(), "lr": set(), "begin_epoch": set()}
    folder = Path(cifar_tune.__file__).parent
    for file in folder.rglob("*.py"):
        name = file.relative_to(folder).as_posix()
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id="Learner") | ast.Attribute(attr="Learner")):
                    found["Learner"].add(name)
                case ast.Call(func=ast.Attribute(attr="begin_epoch")):
                    found["begin_epoch"].add(name)
                case ast.Subscript(slice=ast.Constant(value="lr"), ctx=ast.Store()):
                    found["lr"].add(name)
    assert found == {
        "Learner": {"training/learner.py"},
        "lr": {
            "study_spec/lr_in_file.py",  # of a study file
            "training/optimizers.py",  # from a number to a tensor
            "training/schedules.py",
        },
        "begin_epoch": {
            "training/probe.py",
            "training/checkpoint_fit.py",
            "training/learner.py",
            "model_files/loading.py",
        },
    }
