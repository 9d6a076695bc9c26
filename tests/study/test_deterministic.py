"""`deterministic: N`: numbers, suggestions and values depend neither on the number of workers nor on what disturbs."""

import hashlib
import json
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.errors import UserError
from cifar_tune.executors.messages import Died, Ready, Report
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.storage.records import StudyRecord
from tests.exhaustive import few_of

from .conftest import RunStudy, spec_of
from .scripted import Script, ScriptedExecutors
from .test_processes import Folder, executor_of

SPACE: dict[str, Any] = {
    "lr": {"low": 0.01, "high": 1.0, "log": True},
    "dropout": {"low": 0.0, "high": 0.5},
    "activation": {"choices": ["relu", "elu", "silu"]},
}
NUMBERS: dict[str, Any] = {"lr": SPACE["lr"], "dropout": SPACE["dropout"]}
GRID: dict[str, Any] = {
    "width": {"choices": [4, 8, 16]},
    "batch_size": {"choices": [32, 64, 128]},
    "activation": SPACE["activation"],
}


def noisy(config: Configuration, epoch: int) -> float:
    """A curve that differs between configurations and crosses others."""
    digest = hashlib.sha256(repr(sorted(config.stored().items())).encode()).digest()
    return 0.2 + 0.6 * digest[0] / 255 + 0.02 * epoch * digest[1] / 255


@dataclass
class ShuffledExecutors(ScriptedExecutors):
    """Executors that are heard in an order of their own: trials end in another one than they began."""

    seed: int = 0
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.draw = random.Random(self.seed)  # noqa: S311

    def reports(self, timeout: float) -> list[Report | Died]:
        if self._reports and not isinstance(self._reports[0], Ready):
            self._reports.rotate(self.draw.randrange(len(self._reports)))
        return super().reports(timeout)


def study(size: int | None, sampler: str, pruner: str, trials: int = 12, **sections: Any) -> dict[str, Any]:
    space = {"cmaes": NUMBERS, "grid": GRID}.get(sampler, SPACE)
    options = {"tpe": {"n_startup_trials": 4}, "gp": {"n_startup_trials": 4}, "nsgaii": {"population_size": 4}}
    return {
        "name": f"{sampler}-{pruner}",
        "budget": {"trials": trials},
        "sampler": {"name": sampler, "seed": 3, **options.get(sampler, {})},
        "pruner": {"name": pruner, **({"n_startup_trials": 3} if pruner == "median" else {})},
        **({} if size is None else {"deterministic": size}),
        "train": {"epochs": 5},
        "search_space": space,
    } | sections


def seen(record: StudyRecord) -> list[tuple[Any, ...]]:
    """All that must be equal."""
    return [
        (trial.number, trial.state, trial.reason, dict(trial.params), trial.values, dict(trial.intermediate))
        for trial in record.trials
    ]


Run = Callable[[dict[str, Any], int, int], StudyRecord]


@pytest.fixture
def run_shuffled(run_scripted: RunStudy) -> Run:
    def run(plain: dict[str, Any], workers: int, seed: int) -> StudyRecord:
        executors = ShuffledExecutors(Script(curve=noisy), workers, seed=seed)
        _, record, _ = run_scripted(plain, executors=executors)
        record.study._storage.delete_study(record.study._study_id)  # hyperband hashes names: the next has the same
        return record

    return run


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    few_of(
        [
            ("tpe", "median"),
            ("tpe", "hyperband"),
            ("random", "asha"),
            ("nsgaii", "none"),
            ("cmaes", "none"),
            ("qmc", "median"),
            ("grid", "median"),
            ("gp", "none"),
        ],
        [("tpe", "median"), ("random", "asha"), ("nsgaii", "none")],
    ),
)
def test_any_number_of_workers_gives_the_same_trials(run_shuffled: Run, sampler: str, pruner: str) -> None:
    plain = study(4, sampler, pruner, trials=8 if sampler == "gp" else 12)
    alone = seen(run_shuffled(plain, 1, 0))
    states = {state for _, state, *_ in alone}
    assert states == ({"COMPLETE"} if pruner == "none" else {"COMPLETE", "PRUNED"})
    for workers, seed in ((2, 1), (3, 2)) if sampler != "gp" else ((3, 1),):
        assert seen(run_shuffled(plain, workers, seed)) == alone


def test_without_it_the_order_in_which_trials_end_decides(run_shuffled: Run) -> None:
    plain = study(None, "tpe", "median")
    assert seen(run_shuffled(plain, 3, 1)) != seen(run_shuffled(plain, 1, 0))


def test_a_batch_of_one_is_what_one_worker_does(run_shuffled: Run) -> None:
    alone = seen(run_shuffled(study(None, "tpe", "median"), 1, 0))
    assert seen(run_shuffled(study(1, "tpe", "median"), 4, 1)) == alone


def test_grid_tries_every_combination_once(run_shuffled: Run) -> None:
    record = run_shuffled(study(4, "grid", "none", trials=50), 3, 1)
    tried = {tuple(sorted(trial.params.items())) for trial in record.trials}
    assert len(tried) == len(record.trials) == 27


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    few_of([("tpe", "hyperband"), ("qmc", "median"), ("nsgaii", "none")], [("tpe", "hyperband")]),
)
def test_parked_and_continued_it_is_the_same(
    run_scripted: RunStudy, run_shuffled: Run, sampler: str, pruner: str
) -> None:
    plain = study(4, sampler, pruner)
    undisturbed = seen(run_shuffled(plain, 1, 0))
    checkpoints: dict[int, Any] = {}
    ending, stop_after = "", 0
    while ending != "budget":
        stop_after += 7
        executors = ShuffledExecutors(Script(curve=noisy), 3, checkpoints, seed=stop_after)
        ending, record, _ = run_scripted(plain, executors=executors, stop_after=7)
    assert stop_after > 28
    assert seen(record) == undisturbed


def test_known_configurations_and_executors_that_die(run_scripted: RunStudy, run_shuffled: Run) -> None:
    plain = study(4, "tpe", "median", start_from=[{"lr": 0.5}, {"dropout": 0.1, "activation": "elu"}])
    undisturbed = seen(run_shuffled(plain, 1, 0))
    disasters = {3: [(2, "died")], 9: [(1, "died"), (1, "died")], 10: [(4, "died")]}
    executors = ShuffledExecutors(Script(curve=noisy, disasters=disasters), 3, seed=5)
    _, record, _ = run_scripted(plain, executors=executors)
    assert seen(record) == undisturbed


def test_no_trial_begins_before_the_batch_before_has_ended(run_scripted: RunStudy) -> None:
    executors = ShuffledExecutors(Script(curve=noisy), 8)
    _, record, recorder = run_scripted(study(3, "random", "median", trials=10), executors=executors)
    assert executors.most_at_once == 3
    assert [job.number for job in executors.jobs] == list(range(10))
    assert {end.number // 3 for end in recorder.ends[:3]} == {0}
    assert "deterministic: 3 lets 3 run at a time, of 8 workers" in recorder.notes
    assert record.spec.deterministic == 3


def test_the_pruner_decides_from_earlier_batches(run_scripted: RunStudy) -> None:
    """Trial 1 is hopeless beside trial 0, but in its batch; trial 2 is as bad, and in the next one."""
    quality = iter([0.9, 0.1, 0.1, 0.1])
    by_config: dict[str, float] = {}

    def curve(config: Configuration, epoch: int) -> float:
        key = repr(config["lr"])
        if key not in by_config:
            by_config[key] = next(quality)
        return by_config[key]

    plain = study(2, "random", "median", trials=4) | {"pruner": {"name": "median", "n_startup_trials": 1}}
    _, record, _ = run_scripted(plain, Script(curve=curve))
    assert [trial.state for trial in record.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]


@pytest.mark.parametrize("size", [0, -1, 1.5, "two", True])
def test_what_is_no_number_of_trials(size: object) -> None:
    with pytest.raises(UserError, match=r"^deterministic = .*: must be a whole number >= 1"):
        spec_of({"deterministic": size})


@pytest.mark.parametrize("section", [{"objective": {"metric": "seconds_per_epoch"}},
                                     {"constraints": ["seconds_per_epoch <= 5"]}])  # fmt: skip
def test_what_a_clock_decides_is_refused(section: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="deterministic = 4: does not work with seconds_per_epoch"):
        spec_of({"deterministic": 4, "pruner": {"name": "none"}} | section)


REAL = """
name: disturbed
deterministic: 3
budget: {trials: 6}
sampler: {name: tpe, seed: 1, n_startup_trials: 3}
pruner: {name: median, n_startup_trials: 2}
data: {name: digits, val_size: 100, train_size: 100}
plugins: [wait_for_test.py]
train: {model: cnn2, width: 4, epochs: 6, optimizer: sgd, batch_size: 64, augment: [wait_for_test]}
search_space:
  lr: {low: 1e-3, high: 1.0, log: true}
  momentum: {low: 0.5, high: 0.99}
"""


@pytest.mark.exhaustive
def test_real_processes_one_alone_three_and_three_that_are_killed(tmp_path: Path) -> None:
    def folder(name: str) -> Folder:
        made = Folder(tmp_path / name)
        (made.path / "study.yaml").write_text(REAL)
        made.environment["CIFAR_TUNE_CACHE"] = str(tmp_path / "cache")
        return made

    alone, together, killed = (folder(name) for name in ("alone", "together", "killed"))
    for made, workers in ((alone, "1"), (together, "3")):
        code, _, err = made.call("run", "study.yaml", "--workers", workers)
        assert code == 0, err
    killed.gate.let(6)  # of the 18 that the first batch has, which nothing is pruned of
    process = killed.start("run", "study.yaml", "--workers", "2")
    killed.wait_for_epochs(6)
    os.kill(executor_of(process), signal.SIGKILL)
    killed.train_until_epochs(11)
    process.kill()
    process.communicate()
    killed.gate.open()
    code, _, err = killed.call("run", "study.yaml", "--workers", "3")
    assert code == 0, err
    assert json.dumps(seen(together.record())) == json.dumps(seen(alone.record()))
    assert json.dumps(seen(killed.record())) == json.dumps(seen(alone.record()))
