"""Real processes, really disturbed: Ctrl-C, SIGTERM, kill -9 of executors and coordinators."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

from benchmarks.process_tree import executors_of
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from tests.processes import Program, call_cifar_tune, start_cifar_tune, start_interpreter
from tests.waiting import PATIENCE, Gate, is_alive, wait_until

STUDY = """
name: disturbed
budget: {trials: 3}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 100, train_size: 100}
plugins: [wait_for_test.py]
train:
  {model: cnn2, width: 4, epochs: 12, batch_size: 64, optimizer: sgd, dropout: 0.2,
   augment: [random_crop, wait_for_test]}
search_space:
  lr: {low: 1e-3, high: 1e-1, log: true}
  momentum: {low: 0.5, high: 0.99}
"""


@contextmanager
def watched(url: URL, name: str) -> Iterator[Callable[[], int]]:
    """Tells, whenever it is asked, how many epochs of a study are reported in all.

    Those of a trial that is trained again count once. There are none as long as the study cannot be read, as where it
    is being created right now. The database is opened once: whoever waits should leave the cores to others.
    """
    opened: list[BatchStorage] = []

    def epochs() -> int:
        try:
            if not opened:
                opened.append(open_storage(url))
            return sum(trial.epochs for trial in load_record(opened[0], name).trials)
        except Exception:  # noqa: BLE001 (whatever the database says while it is made, or away)
            while opened:
                close(opened.pop())
            return 0

    try:
        yield epochs
    finally:
        while opened:
            close(opened.pop())


class Folder:
    """A working folder with a storage of its own, and a gate for trainings that wait for the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.gate = Gate(path)
        (path / "study.yaml").write_text(STUDY)
        self.url = f"sqlite:///{path}/studies.db"
        self.environment = os.environ | {
            "CIFAR_TUNE_STORAGE": self.url,
            "CIFAR_TUNE_ARTIFACTS": str(path / "artifacts"),
        }

    def start(self, *arguments: str, code: str | None = None) -> Program:
        return start_cifar_tune(arguments, self.path, self.environment, code)

    def start_interpreter(self, *arguments: str) -> Program:
        return start_interpreter(arguments, self.path, self.environment)

    def call(self, *arguments: str) -> tuple[int, str, str]:
        return call_cifar_tune(arguments, self.path, self.environment)

    def record(self) -> StudyRecord:
        """What is stored. The database is closed again: whoever waits may ask for it hundreds of times."""
        storage = open_storage(make_url(self.url))
        try:
            return load_record(storage, "disturbed")
        finally:
            close(storage)

    def epochs(self) -> int:
        """How many epochs are reported in all; see `watched`."""
        return sum(trial.epochs for trial in self.record().trials)

    def wait_for_epochs(self, wanted: int) -> None:
        """Wait until this many epochs are reported in all."""
        with watched(make_url(self.url), "disturbed") as epochs:
            wait_until(lambda: epochs() >= wanted)

    def train_until_epochs(self, wanted: int) -> None:
        """The same behind a closed gate, which lets one epoch after the other begin until it holds."""

        with watched(make_url(self.url), "disturbed") as epochs:

            def reached() -> bool:
                self.gate.let_next()
                return epochs() >= wanted

            wait_until(reached)


def executor_of(process: Program) -> int:
    """One of its executors, once there is one: it may be about to be replaced."""
    wait_until(lambda: bool(executors_of(process.pid)) or process.poll() is not None)
    return executors_of(process.pid)[0]


def values(record: StudyRecord) -> list[tuple[str, float | None, dict[int, float]]]:
    return [(trial.state, trial.value, dict(trial.intermediate)) for trial in record.trials]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    folder = Folder(tmp_path_factory.mktemp("reference") / "undisturbed")
    folder.environment["CIFAR_TUNE_CACHE"] = str(folder.path / "cache")
    code, out, err = folder.call("run", "study.yaml")
    assert code == 0, err
    assert "best_trial=" in out
    assert "Traceback" not in err
    return folder.record()


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_that_suffers_everything_ends_like_an_undisturbed_one(tmp_path: Path, undisturbed: StudyRecord) -> None:
    folder = Folder(tmp_path / "disturbed")

    # Ctrl-C, as a terminal sends it: to the whole process group; a second run at the same time is refused
    folder.gate.let(2)
    first = folder.start_interpreter("run", "study.yaml")
    folder.wait_for_epochs(1)
    code, _, err = folder.call("run", "study.yaml")
    assert code == 1
    assert f"process {first.pid} on" in err
    folder.wait_for_epochs(2)
    os.killpg(first.pid, signal.SIGINT)
    out, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130
    assert "go on with: cifar-tune run study.yaml" in out
    assert "Traceback" not in err
    states = [trial.state for trial in folder.record().trials]
    assert states[-1] == "WAITING"
    assert "RUNNING" not in states
    parked_at = folder.epochs()

    # kill -9 of an executor in the middle of an epoch; the last one before it may not be in the checkpoint yet
    folder.gate.let(2)
    second = folder.start("run", "study.yaml")
    folder.wait_for_epochs(parked_at + 2)
    os.kill(executor_of(second), signal.SIGKILL)
    folder.train_until_epochs(parked_at + 4)

    # kill -9 of the coordinator: its executor ends itself
    wait_until(lambda: folder.record().counts["RUNNING"] > 0)  # not while a trial waits for its next executor
    executor = executor_of(second)
    second.kill()
    second.communicate(timeout=PATIENCE)
    wait_until(lambda: not is_alive(executor))
    assert [trial.state for trial in folder.record().trials if trial.state == "RUNNING"]

    # SIGTERM, as a job scheduler sends it, once this run has added epochs to those that the killed one wrote
    written = folder.epochs()
    third = folder.start("run", "study.yaml")
    folder.train_until_epochs(written + 2)
    third.terminate()
    _, err = third.communicate(timeout=PATIENCE)
    assert third.returncode == 130
    assert "an earlier run was killed" in err

    folder.gate.open()
    code, _, err = folder.call("run", "study.yaml")
    assert code == 0, err
    record = folder.record()
    assert values(record) == values(undisturbed)
    assert record.counts["RUNNING"] == 0
    assert len([number for trial in record.trials for number in trial.resumed_from]) >= 3
    require_best_trains_again(folder)
    code, out, _ = folder.call("status", "disturbed", "--json")
    assert json.loads(out)["counts"] == {"COMPLETE": 3}


def require_best_trains_again(folder: Folder) -> None:
    """The best configuration leads to the same value."""
    code, out, err = folder.call("export", "disturbed", "--output", "report")
    assert code == 0, err
    code, out, err = folder.call("train", "report/best.yaml")
    assert code == 0, err
    best = folder.record().best
    assert best is not None
    assert f"val_accuracy={best.value!r}" in out.splitlines()


def test_a_diverging_trial_is_pruned_and_the_study_goes_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "diverging")
    settings = ("--set", "lr=1e30", "--set", "momentum=0.9", "--trials", "2", "--set", "epochs=2")
    code, _, err = folder.call("run", "study.yaml", *settings)
    assert code == 1
    assert "has no completed trial" in err
    record = folder.record()
    assert [(trial.state, trial.reason) for trial in record.trials] == [("PRUNED", "diverged")] * 2
