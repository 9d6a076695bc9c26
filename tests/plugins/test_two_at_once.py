"""Studies whose plugins give different meanings to the same names, in one process at the same time."""

import math
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import optuna
import pytest
import torch

from cifar_tune.cli.spec_lines import spec_lines
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError
from cifar_tune.executors.job_training import JobTrainer
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.part import Value
from cifar_tune.models.build import build_model, count_parameters
from cifar_tune.reports.loaded import LoadedStudy
from cifar_tune.samplers.build import Samplers
from cifar_tune.study.asking import ask
from cifar_tune.study_spec.reader import ReadStudy, read_study_file
from cifar_tune.study_spec.run_config import read_run_config
from cifar_tune.training.losses import build_loss
from tests.reports.factory import MadeTrial, make_record

LINEAR = """
from torch import nn
from torch.nn import functional
from cifar_tune.plugins import Kind, Knob, LossPart, ModelPart

class Net(nn.Module):
    def __init__(self, image_shape, classes, size):
        super().__init__()
        self.layer = nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], classes)
        self.size = size

    def forward(self, images):
        return self.layer(images.flatten(1)) * self.size

def loss(logits, targets):
    return functional.cross_entropy(logits, targets)

MODELS = {"own": ModelPart(Net, "linear", arguments={"size": "size"}, defaults={"size": 0.5})}
LOSSES = {"own": LossPart(loss, "plain")}
KNOBS = [Knob("size", Kind.FLOAT, 1.0, "factor of the logits", low=0, high=2, low_open=True, owner="model")]
"""
HIDDEN = """
import torch
from torch import nn
from torch.nn import functional
from cifar_tune.plugins import Kind, Knob, LossPart, ModelPart

class Net(nn.Module):
    def __init__(self, image_shape, classes, *, units):
        super().__init__()
        inputs = image_shape[0] * image_shape[1] * image_shape[2]
        self.layers = nn.Sequential(nn.Linear(inputs, units), nn.Tanh(), nn.Linear(units, classes))

    def forward(self, images):
        return self.layers(images.flatten(1))

def loss(logits, targets, *, bite):
    return functional.cross_entropy(logits, targets) * bite

MODELS = {"own": ModelPart(Net, "hidden", arguments={"size": "units"}, defaults={"size": 7})}
LOSSES = {"own": LossPart(loss, "scaled", arguments={"bite": "bite"}, soft_labels=False)}
KNOBS = [
    Knob("size", Kind.INT, 20, "hidden units", low=3, high=40, owner="model"),
    Knob("bite", Kind.FLOAT, 3.0, "factor of the loss", low=0, owner="loss"),
]
"""
STUDY = """name: {name}
plugins: [{name}.py]
data: {{name: digits, image_size: 8}}
train: {{model: own, loss: own, epochs: 2, threads: 1}}
search_space: {{size: {{low: {low}, high: {high}}}, augment: {{choices: [none, {augment}]}}}}
"""


@dataclass(frozen=True)
class Side:
    """One of the two studies, and what is true of it alone."""

    name: str
    source: str
    low: Value
    high: Value
    augment: str
    default: Value
    parameters: Callable[[int], int]
    loss: float
    too_low: str

    def write(self, folder: Path) -> None:
        (folder / f"{self.name}.py").write_text(self.source)
        study = STUDY.format(name=self.name, low=self.low, high=self.high, augment=self.augment)
        (folder / f"{self.name}.yaml").write_text(study)


INPUTS = 3 * 8 * 8
SIDES = (
    Side("linear", LINEAR, 0.25, 1.75, "mixup", 0.5, lambda _: INPUTS * 10 + 10, 1.0, "must be a number > 0"),
    Side(
        "hidden",
        HIDDEN,
        4,
        12,
        "cutout",
        7,
        lambda units: (INPUTS + 1) * units + (units + 1) * 10,
        3.0,
        "must be a whole number >= 3",
    ),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    for side in SIDES:
        side.write(tmp_path)
    return tmp_path


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, so that what they share is seen."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
def test_two_threads_read_check_ask_build_and_report(folder: Path) -> None:
    together = threading.Barrier(len(SIDES))

    def work(side: Side) -> None:
        try:
            for attempt in range(2):
                together.wait()
                read = _read_and_check(side, folder)
                together.wait()
                _ask_and_build(side, read)
                together.wait()
                _report(side, read, folder / f"{side.name}{attempt}")
        except BaseException:
            together.abort()  # or the other one would wait for ever
            raise

    with ThreadPoolExecutor(len(SIDES)) as threads:
        problems = [each.exception() for each in [threads.submit(work, side) for side in SIDES]]
    for problem in problems:
        if problem is not None and not isinstance(problem, threading.BrokenBarrierError):
            raise problem
    assert problems == [None, None]


def _read_and_check(side: Side, folder: Path) -> ReadStudy:
    other = next(each for each in SIDES if each is not side)
    read = read_study_file(folder / f"{side.name}.yaml")
    space = read.spec.space
    assert space.vocabulary.default_of(space.vocabulary.knobs["size"], {"model": "own"}) == side.default
    assert {outcome["size"] for outcome in space.outcomes({"size"})} >= {side.low, side.high}
    lines = "\n".join(spec_lines(read.spec))
    assert f"size: {{low: {side.low}, high: {side.high}" in lines
    assert ("# bite: 3.0 (default)" in lines) is (side.name == "hidden")
    wrong = folder / f"{side.name}_wrong.yaml"
    text = (folder / f"{side.name}.yaml").read_text()
    wrong.write_text(text.replace(f"low: {side.low}", f"low: {-1}"))
    with pytest.raises(UserError, match=f"size.low = -1: {side.too_low}"):
        read_study_file(wrong)
    if side.name == "hidden":  # its loss takes no soft labels, and the other one's does
        wrong.write_text(text.replace(side.augment, other.augment))
        with pytest.raises(UserError, match="mixup and cutmix need a loss that takes soft labels"):
            read_study_file(wrong)
    return read


def _ask_and_build(side: Side, read: ReadStudy) -> None:
    study = optuna.create_study(direction="maximize")
    samplers = Samplers(read.spec.sampler)
    for _ in range(3):
        trial, config = ask(study, read.spec, samplers, None)
        assert isinstance(config["size"], type(side.low))
        assert cast(float, side.low) <= config.number("size") <= cast(float, side.high)
        assert count_parameters(build_model(config, (3, 8, 8), 10)) == side.parameters(int(config.number("size")))
        loss = build_loss(config)(torch.zeros(2, 10), torch.zeros(2, dtype=torch.int64))
        assert loss.item() == pytest.approx(side.loss * math.log(10))
        study.tell(trial, 0.5)


def _report(side: Side, read: ReadStudy, folder: Path) -> None:
    spec = read.spec
    values = [side.low, side.high, side.default]
    trials = [MadeTrial({"size": values[n % 3], "augment": ()}, 0.5 + n / 100, epochs=2) for n in range(12)]
    study = LoadedStudy(make_record(spec, trials))
    assert study.best_config()["size"] == side.default
    assert [level.label for level in study.compare("size").levels]
    with pytest.raises(UserError, match="no finished trial took this knob" if side.name == "linear" else "was 3.0"):
        study.compare("bite" if side.name == "hidden" else "crop_padding")
    study.export(folder)
    best = read_run_config(folder / "best.yaml").train
    assert best["size"] == side.default
    assert best.part("model").meaning == side.name
    assert "factor" in best.vocabulary.knobs["size"].meaning or side.name == "hidden"


def test_one_executor_trains_both_in_turn(folder: Path) -> None:
    """Results are what each gives in an executor of its own."""
    data = DataSpec(name="digits", image_size=8, train_size=200, val_size=100)
    jobs = []
    for number, side in enumerate((*SIDES, *SIDES)):
        run = read_study_file(folder / f"{side.name}.yaml").spec
        config = run.space.configuration(lambda name, _, side=side: side.default if name == "size" else ())  # type: ignore[misc]
        jobs.append(_job(number, config, data, folder))
    alone = [_train(JobTrainer(torch.device("cpu"), "cpu", lambda: True), job) for job in jobs[:2]]
    assert alone[0][0] != alone[1][0], "the parameters of the two models"
    trainer = JobTrainer(torch.device("cpu"), "cpu", lambda: True)
    assert [_train(trainer, job) for job in jobs] == [*alone, *alone]


def _job(number: int, config: Configuration, data: DataSpec, folder: Path) -> Job:
    files = tuple(plugin.file for plugin in config.vocabulary.plugins if plugin.file is not None)
    return Job(number, dict(config), data, folder / f"trial-{number}.pt", plugins=files)


def _train(trainer: JobTrainer, job: Job) -> tuple[int, list[float]]:
    began, *epochs, ended = trainer.run(job)
    assert isinstance(began, Began)
    assert isinstance(ended, Ended)
    assert ended.outcome == "completed", ended
    losses = [epoch.result.train_loss for epoch in epochs if isinstance(epoch, EpochDone)]
    assert len(losses) == 2
    job.checkpoint.unlink()
    return began.parameters, losses
