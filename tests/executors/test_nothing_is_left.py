"""What a training leaves behind in its executor: nothing, whatever it was made of and however it ended."""

import gc
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # timm imports it, and the import itself leaves circles

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.spec import DataSpec
from cifar_tune.executors import job_training
from cifar_tune.executors.job_training import JobReport, JobTrainer
from cifar_tune.executors.messages import Ended, Job, Rehearsal
from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.lookaheads import LOOKAHEADS
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.normalizations import NORMALIZATIONS
from cifar_tune.knobs.norms import NORMS
from cifar_tune.knobs.optimizers import OPTIMIZERS, SCHEDULE_FREE
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.table import INITS, NORM_PLACEMENTS, STEMS
from cifar_tune.knobs.test_time_augmentations import TEST_TIME_AUGMENTATIONS
from cifar_tune.training.learner import Learner
from cifar_tune.training.loop import Training
from tests.exhaustive import first_of_each

CPU = torch.device("cpu")
SIZE = 32
DATA = DataSpec(name="digits", train_size=12, val_size=12, image_size=SIZE)

ONE_OF_EACH = (
    "tutorial_net", "simple_nn", "cnn2", "cnn3", "airbench_net", "vgg11", "resnet18", "resnet50", "resnet20",
    "densenet121",
)  # fmt: skip
"""Models that stand for all: the others are deeper ones of the same classes."""

EVERYTHING: list[dict[str, Value]] = [
    *(dict[str, Value](model=name) for name in (*ONE_OF_EACH, "timm")),
    *(dict[str, Value](optimizer=name) for name in OPTIMIZERS if name not in SCHEDULE_FREE),
    *(dict[str, Value](optimizer=name, schedule="constant") for name in SCHEDULE_FREE),
    *(dict[str, Value](schedule=name, warmup_epochs=0.5) for name in SCHEDULES),
    *(dict[str, Value](loss=name) for name in LOSSES),
    *(dict[str, Value](activation=name) for name in ACTIVATIONS),
    *(dict[str, Value](norm=name, norm_groups=2) for name in NORMS),
    *(dict[str, Value](lookahead=name, lookahead_steps=1) for name in LOOKAHEADS),
    *(dict[str, Value](augment=(name,)) for name in AUGMENTATIONS),
    *(dict[str, Value](normalization=name) for name in NORMALIZATIONS),
    *(dict[str, Value](test_time_augmentation=name) for name in TEST_TIME_AUGMENTATIONS),
    *(dict[str, Value](model="resnet20", norm_placement=name) for name in NORM_PLACEMENTS),
    *(dict[str, Value](model="resnet18", stem=name) for name in STEMS),
    *(dict[str, Value](model="airbench_net", init=name) for name in INITS),
    {"model": "airbench_net", "norm_bias_lr_factor": 64.0},
    {"ema_decay": 0.9},
    {"clip_grad_norm": 1.0, "l1": 1e-3, "decay_norm_and_bias": False},
    {"on_oom": "accumulate"},
    {"precision": "bf16"},
]
DEEPER: list[dict[str, Value]] = [{"model": name} for name in MODELS if name not in (*ONE_OF_EACH, "timm")]
"""They differ from those in nothing but their number of layers."""


class Watched(Training):
    """A training that says what is left of it."""

    left: list[weakref.ref[Any]]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        parameters = list(self.learner.model.parameters())
        self.left += [weakref.ref(each) for each in (self, self.learner, self.learner.model, *parameters)]
        self.left += [weakref.ref(each) for each in (self.learner.evaluated, self.learner.optimizer)]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[weakref.ref[Any]]]:
    """References to every training and its parts; meanwhile nothing is collected unless somebody asks for it."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "nothing-is-left"))
    monkeypatch.setattr(Watched, "left", [], raising=False)
    monkeypatch.setattr(job_training, "Training", Watched)
    torch.set_num_threads(1)
    gc.collect()
    gc.disable()
    yield Watched.left
    gc.enable()


def alive(left: list[weakref.ref[Any]]) -> list[str]:
    return [type(each()).__name__ for each in left if each() is not None]


def job(number: int, folder: Path, **chosen: Value) -> Job:
    small: dict[str, Value] = {"model": "cnn2", "width": 8, "batch_size": 12, "epochs": 1, "precision": "fp32"}
    if chosen.get("model") == "timm":
        chosen["timm_name"] = "test_resnet"
    return Job(number, dict(complete({**small, **chosen})), DATA, folder / f"{number}.pt")


@pytest.mark.parametrize(
    "parts",
    [
        first_of_each(EVERYTHING, tuple),
        pytest.param(EVERYTHING, marks=pytest.mark.exhaustive),
        pytest.param(DEEPER, marks=pytest.mark.slow),
    ],
    ids=["one of each kind", "all", "deeper models"],
)
@pytest.mark.usefixtures("_no_collection")
def test_no_part_refers_to_itself(
    left: list[weakref.ref[Any]], tmp_path: Path, parts: Sequence[dict[str, Value]]
) -> None:
    pytest.importorskip("timm")
    trainer = JobTrainer(CPU, "cpu", lambda: True)
    for number, chosen in enumerate(parts):
        reports = list(trainer.run(job(number, tmp_path, **chosen)))
        assert reports[-1] == Ended(number, "completed"), chosen
        assert len(left) > 5
        assert not alive(left), chosen
        left.clear()


@pytest.mark.slow
@pytest.mark.usefixtures("_no_collection")
def test_compiled_code_keeps_no_model(left: list[weakref.ref[Any]], tmp_path: Path) -> None:
    trainer = JobTrainer(CPU, "cpu", lambda: True)
    for number in range(2):
        reports = list(trainer.run(job(number, tmp_path, compile=True)))
        assert reports[-1] == Ended(number, "completed")
        assert len(left) > 5
        assert not alive(left)
        left.clear()


@pytest.fixture
def _no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_training, "release", lambda _: None)


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def mistake() -> None:
    raise ZeroDivisionError("a mistake in a plugin")


ENDS: list[tuple[str, dict[str, Value], Callable[[], None] | None, list[bool]]] = [
    ("completed", {}, None, [True] * 2),
    ("stopped", {}, None, [False]),
    ("stopped", {}, None, [True, False]),
    ("diverged", {"lr": 1e30, "schedule": "constant"}, None, [True]),
    ("refused", {"model": "tutorial_net", "norm": "none", "norm_bias_lr_factor": 2.0}, None, []),
    ("out_of_memory", {}, out_of_memory, [True]),
    ("error", {}, mistake, [True]),
]


@pytest.mark.parametrize(
    ("outcome", "chosen", "fail", "verdicts"), ENDS, ids=[f"{number}-{end[0]}" for number, end in enumerate(ENDS)]
)
def test_everything_is_free_before_memory_is_given_back(
    outcome: str,
    chosen: dict[str, Value],
    fail: Callable[[], None] | None,
    verdicts: list[bool],
    left: list[weakref.ref[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever an error's traceback holds, and the last report comes after all that."""
    seen: list[object] = []

    def look(device: torch.device) -> None:
        seen.append((device, alive(left), sys.exc_info()[1]))

    step = Learner.train_step

    def failing(self: Learner, *batch: Any) -> Any:
        features = torch.zeros(8)
        left.append(weakref.ref(features))
        if fail is not None:
            fail()
        return step(self, *batch)

    monkeypatch.setattr(job_training, "release", look)
    monkeypatch.setattr(Learner, "train_step", failing)
    answers = iter(verdicts)
    reports = JobTrainer(CPU, "cpu", lambda: next(answers)).run(job(0, tmp_path, **chosen))
    last: JobReport | None = None
    for last in reports:
        if isinstance(last, Ended):
            break
        assert not seen
    assert isinstance(last, Ended)
    assert last.outcome == outcome
    assert seen == [(CPU, [], None)]


def test_what_refers_to_itself_is_collected_between_two_jobs(
    left: list[weakref.ref[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own model or optimizer may do so."""

    class Circular(Watched):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.me = self

    monkeypatch.setattr(job_training, "Training", Circular)
    reports = JobTrainer(CPU, "cpu", lambda: True).run(job(0, tmp_path))
    for report in reports:
        if isinstance(report, Ended):
            assert not alive(left)


def test_a_rehearsal_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, left: list[weakref.ref[Any]]) -> None:
    seen: list[object] = []
    monkeypatch.setattr(job_training, "release", lambda _: seen.append((alive(left), sys.exc_info()[1])))

    def failing(*_: object) -> Any:
        features = torch.zeros(8)
        left.append(weakref.ref(features))
        out_of_memory()

    monkeypatch.setattr(Learner, "train_step", failing)
    config = complete({"model": "tutorial_net", "batch_size": 6})
    (report,) = JobTrainer(CPU, "cpu", lambda: True).rehearse(Rehearsal(dict(config), (), DATA))
    assert "out of memory" in report.problem
    assert len(left) == 1
    assert seen == [([], None)]


def test_an_executor_uses_its_own_gpu_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else giving memory back would begin a context on the first GPU."""
    chosen: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    JobTrainer(CPU, "cpu", lambda: True)
    assert not chosen
    JobTrainer(torch.device("cuda:1"), "cuda:1", lambda: True)
    assert chosen == [torch.device("cuda:1")]
