"""Executors that make their device ready until the first job comes. A CPU stands in for the GPU."""

import gc
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors import warming
from cifar_tune.executors.job_training import JobTrainer
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Died, Ended, EpochDone, Job, Ready, Report, Verdict, WarmUp
from cifar_tune.knobs.configuration import complete
from cifar_tune.study.run import warm_up_of
from cifar_tune.training import probe
from cifar_tune.training.learner import Learner
from cifar_tune.training.steps import TrainingSteps
from tests.executors.played_gpu import warms_on_the_cpu, writes_orders
from tests.exhaustive import few_of
from tests.reports.factory import make_spec
from tests.taped_graphs import TapedGraphs
from tests.waiting import PATIENCE

CPU = torch.device("cpu")
DATA = DataSpec(name="digits", train_size=64, val_size=32)
CONFIG = complete(
    {
        "model": "cnn2",
        "width": 4,
        "batch_size": 16,
        "epochs": 1,
        "dropout": 0.5,
        "augment": ("random_crop", "gaussian_noise"),
    }
)
ORDER = WarmUp(dict(CONFIG), DATA)


@pytest.fixture(autouse=True)
def _cpu_is_warmed(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "warming"))
    monkeypatch.setattr(warming, "WARMED", ["cpu"])


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What warming up has done: a 0 for each model that was built, a 1 for each step."""
    done: list[int] = []
    real_step, real_init = TrainingSteps._take, Learner.__init__

    def step(steps: TrainingSteps) -> torch.Tensor:
        done.append(1)
        return real_step(steps)

    def init(learner: Learner, *args: object, **named: object) -> None:
        done.append(0)
        real_init(learner, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainingSteps, "_take", step)
    monkeypatch.setattr(Learner, "__init__", init)
    return done


def trained(trainer: JobTrainer, folder: Path, name: str) -> list[float]:
    """Losses of a job."""
    reports = list(trainer.run(Job(0, dict(CONFIG), DATA, folder / f"{name}.pt")))
    assert isinstance(reports[-1], Ended)
    assert reports[-1].outcome == "completed"
    return [each.result.train_loss for each in reports if isinstance(each, EpochDone)]


def drawn() -> list[float]:
    """The next numbers of all generators of the process, which are put back."""
    ours, numpys, torchs = random.getstate(), np.random.get_state(), torch.get_rng_state()
    numbers = [random.random(), np.random.random(), torch.rand(()).item()]  # noqa: S311
    random.setstate(ours)
    np.random.set_state(numpys)
    torch.set_rng_state(torchs)
    return numbers


def learners() -> list[object]:
    """All that train in this process."""
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Learner | TrainingSteps)]


@pytest.mark.parametrize("graphs", few_of([False, True], [True]))
def test_it_takes_steps_and_leaves_nothing(
    graphs: bool, taken: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if graphs:
        monkeypatch.setattr(probe, "graphs_on", lambda _device, _config: TapedGraphs())
    left: list[list[str]] = []
    of_others = learners()

    def give_back(_device: torch.device) -> None:
        left.append([type(each).__name__ for each in learners() if not any(each is other for other in of_others)])

    monkeypatch.setattr(warming, "release", give_back)
    trainer = JobTrainer(CPU, "cpu", lambda: True)
    before = drawn()
    assert trainer.warm_up(ORDER, lambda: True)
    assert left == [[]], "memory is given back to the device once, when nothing uses it any more"
    assert drawn() == before
    assert taken == [0] + [1] * (5 if graphs else 2)
    assert trained(trainer, tmp_path, "warm") == trained(JobTrainer(CPU, "cpu", lambda: True), tmp_path, "cold")


@pytest.mark.parametrize(("asked", "done"), [(1, []), (2, []), (3, [0]), (4, [0, 1])])
def test_a_job_waits_for_one_part_at_most(asked: int, done: list[int], taken: list[int]) -> None:
    answers = iter([True] * (asked - 1) + [False])
    assert JobTrainer(CPU, "cpu", lambda: True).warm_up(ORDER, lambda: next(answers))
    assert taken == done
    assert next(answers, None) is None, "it was asked before every part"


@pytest.mark.parametrize(
    ("error", "usable"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ZeroDivisionError(), True),
    ],
)
def test_an_error_is_logged_and_ends_no_executor_that_can_train(
    error: Exception,
    usable: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(_steps: TrainingSteps) -> torch.Tensor:
        raise error

    trainer = JobTrainer(CPU, "cpu", lambda: True)
    with monkeypatch.context() as patch, caplog.at_level("INFO", "cifar_tune.executors"):
        patch.setattr(TrainingSteps, "_take", fails)
        assert trainer.warm_up(ORDER, lambda: True) == usable
    assert [type(error).__name__ in record.message for record in caplog.records] == [True]
    assert trained(trainer, tmp_path, "job")


def test_a_gpu_that_others_use_is_left_alone_and_so_is_a_cpu(taken: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = JobTrainer(CPU, "cpu", lambda: True)
    monkeypatch.setattr(warming, "room", lambda _device: (4, 10))
    trainer.warm_up(ORDER, lambda: True)
    assert (trainer._data is not None, taken) == (True, [])
    monkeypatch.setattr(warming, "WARMED", ["cuda"])
    idle = JobTrainer(CPU, "cpu", lambda: True)
    idle.warm_up(ORDER, lambda: True)
    assert (idle._data, taken) == (None, [])


def test_plugins_do_not_run_before_their_trials(taken: list[int]) -> None:
    trainer = JobTrainer(CPU, "cpu", lambda: True)
    trainer.warm_up(WarmUp(None, DATA), lambda: True)
    assert (trainer._data is not None, taken) == (True, [])


def test_what_is_trained_is_of_the_study_but_nothing_is_compiled() -> None:
    spec = make_spec({"width": {"choices": [4, 8, 16]}}, train={"model": "cnn2", "epochs": 3, "compile": True})
    config = warm_up_of(spec).config
    assert config is not None
    assert [config[name] for name in ("model", "width", "compile", "init_from")] == ["cnn2", 8, False, "none"]


def hear(executors: LocalExecutors, condition: Callable[[Sequence[Report | Died]], bool]) -> list[Report | Died]:
    heard: list[Report | Died] = []
    deadline = time.monotonic() + PATIENCE
    while not condition(heard):
        for report in executors.reports(0.1):
            heard.append(report)
            if not isinstance(report, Ready | Ended | Died):
                executors.answer(0, Verdict(go_on=True))
        assert time.monotonic() < deadline
    return heard


def test_a_trial_has_the_same_values_in_a_process_that_was_made_ready(tmp_path: Path) -> None:
    executors = LocalExecutors(1, ("cpu",), 1, lambda _note: None, warms_on_the_cpu, ORDER)
    try:
        executors.wait_for_start(DATA, "", lambda: None)
        executors.submit(Job(0, dict(CONFIG), DATA, tmp_path / "0.pt"))
        heard = hear(executors, lambda heard: any(isinstance(each, Ended) for each in heard))
    finally:
        executors.close(lambda: True)
    losses = [each.result.train_loss for each in heard if isinstance(each, EpochDone)]
    assert losses == trained(JobTrainer(CPU, "cpu", lambda: True), tmp_path, "cold")


def test_one_that_takes_the_place_of_another_begins_at_once(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    executors = LocalExecutors(1, (str(orders),), 1, lambda _note: None, writes_orders, ORDER)
    try:
        executors.wait_for_start(DATA, "", lambda: None)
        for _ in range(2):
            executors.submit(Job(0, dict(CONFIG), DATA, tmp_path / "0.pt"))
            hear(executors, lambda heard: any(isinstance(each, Died) for each in heard))
            hear(executors, lambda _heard: executors.idle())
        executors.resize([str(orders)] * 2, lambda _number: 0.0)
        hear(executors, lambda heard: any(isinstance(each, Ready) for each in heard))
    finally:
        executors.close(lambda: False)
    assert orders.read_text().split() == ["WarmUp", "Job", "Job", "WarmUp"]
