"""Studies that are controlled while they run, in real processes: more and fewer executors, none, stop; and kills."""

import os
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from benchmarks.process_tree import executors_of
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.wishes import ask_for_devices, ask_to_park
from tests.processes import Program
from tests.waiting import PATIENCE, read_until, wait_until

from .test_processes import Folder, values

PLUGIN_FILE = "wait_for_test.py"
STUDY = f"""
name: disturbed
budget: {{trials: 4}}
sampler: {{name: random, seed: 1}}
pruner: {{name: none}}
data: {{name: digits, val_size: 100, train_size: 100}}
plugins: [{PLUGIN_FILE}]
train:
  {{model: cnn2, width: 4, epochs: 5, batch_size: 64, optimizer: sgd, dropout: 0.2,
   augment: [random_crop, wait_for_test]}}
search_space:
  lr: {{low: 1e-3, high: 1e-1, log: true}}
"""


PLUGIN = """
import os
import time
from pathlib import Path

from cifar_tune.plugins import AugmentationPart

FOLDER = Path({folder!r})


def wait_for_test(draw):
    while not (FOLDER / "open").exists():
        try:
            (FOLDER / str(os.getpid())).unlink()
        except FileNotFoundError:
            time.sleep(0.02)
        else:
            break
    return lambda images, batch: images


AUGMENTATIONS = {{"wait_for_test": AugmentationPart(wait_for_test, "begins when the test says so", stage="inputs")}}
"""


class Controlled(Folder):
    """A folder in which each executor waits at the beginning of an epoch until the test lets it begin."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        (path / "study.yaml").write_text(STUDY)
        (path / "gate").mkdir()
        (path / PLUGIN_FILE).write_text(PLUGIN.format(folder=str(path / "gate")))

    def let_one_epoch(self, executor: int) -> None:
        """Let the executor with this process number begin one epoch."""
        (self.path / "gate" / str(executor)).touch()

    def open(self) -> None:
        """Let all begin."""
        (self.path / "gate" / "open").touch()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    folder = Controlled(tmp_path_factory.mktemp("undisturbed") / "folder")
    folder.open()
    code, _, err = folder.call("run", "study.yaml")
    assert code == 0, err
    return folder.record()


def ask(folder: Controlled, devices: Sequence[str] | None) -> None:
    """Ask its run for these devices, or to park."""
    storage = open_storage(make_url(folder.url))
    try:
        held = (
            ask_to_park(storage.engine, "disturbed", "anna")
            if devices is None
            else ask_for_devices(storage.engine, "disturbed", devices, "anna")
        )
        assert held is not None
    finally:
        close(storage)


def resize(folder: Controlled, run: Program, workers: int) -> None:
    """Ask for so many workers, and wait until the run has heard it."""
    ask(folder, ["cpu"] * workers)
    read_until(run, "from now on instead of")


def wait_for(folder: Controlled, run: Program, running: int, waiting: int) -> list[int]:
    """Wait until so many trials run and so many wait, on as many executors; returns these."""

    def holds() -> bool:
        counts = folder.record().counts
        as_wanted = (counts.get("RUNNING", 0), counts.get("WAITING", 0)) == (running, waiting)
        return as_wanted and len(executors_of(run.pid)) == running

    wait_until(holds)
    return executors_of(run.pid)


def stop_between_writes(folder: Controlled, run: Program) -> None:
    """Stop its process while it does not write, since else nobody could write any more."""
    with closing(sqlite3.connect(folder.path / "studies.db", timeout=PATIENCE)) as database:
        database.execute("BEGIN IMMEDIATE")
        run.send_signal(signal.SIGSTOP)
        wait_until(lambda: Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        database.rollback()


def test_executors_come_and_go_in_mid_training_and_stop_parks(tmp_path: Path, undisturbed: StudyRecord) -> None:
    folder = Controlled(tmp_path / "folder")
    run = folder.start("run", "study.yaml")
    read_until(run, "trial 0: ")
    (first,) = wait_for(folder, run, running=1, waiting=0)
    folder.let_one_epoch(first)
    folder.wait_for_epochs(1)
    resize(folder, run, 3)
    for _ in range(2):  # one that has not begun would be parked at once
        read_until(run, ": lr ")
    all_three = wait_for(folder, run, running=3, waiting=0)
    resize(folder, run, 1)
    for executor in {*all_three} - {first}:
        folder.let_one_epoch(executor)
    assert wait_for(folder, run, running=1, waiting=2) == [first], "those whose trials have run shortest go"
    resize(folder, run, 0)
    folder.let_one_epoch(first)
    assert wait_for(folder, run, running=0, waiting=3) == []
    assert [trial.epochs for trial in folder.record().trials] == [2, 1, 1]
    resize(folder, run, 2)
    wait_for(folder, run, running=2, waiting=1)

    code, out, err = folder.call("stop", "study.yaml")
    assert code == 0, err
    assert f"waiting until process {run.pid} on" in err
    assert "has parked disturbed\ndisturbed: 3 WAITING\n" in out
    out, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130
    assert "has stopped this run" in err
    assert "disturbed: stopped by " in out
    assert "go on with: cifar-tune run study.yaml" in out
    assert "Traceback" not in err
    code, out, _ = folder.call("stop", "disturbed")
    assert (code, out) == (0, "nobody runs disturbed\ndisturbed: 3 WAITING\n")

    folder.open()
    code, _, err = folder.call("run", "study.yaml", "--workers", "2")
    assert code == 0, err
    record = folder.record()
    assert values(record) == values(undisturbed)
    assert any(trial.resumed_from for trial in record.trials)
    for trial in record.trials:
        assert sorted(trial.intermediate) == [1, 2, 3, 4, 5]


@pytest.mark.exhaustive
def test_kills_while_it_shrinks_and_while_a_wish_stands_lose_nothing(tmp_path: Path, undisturbed: StudyRecord) -> None:
    folder = Controlled(tmp_path / "folder")
    run = folder.start("run", "study.yaml", "--workers", "2")
    read_until(run, "trial 1: ")
    for executor in wait_for(folder, run, running=2, waiting=0):
        folder.let_one_epoch(executor)
    folder.wait_for_epochs(2)
    resize(folder, run, 1)
    read_until(run, "1 trial will be parked at the next epoch")
    for executor in executors_of(run.pid):
        os.kill(executor, signal.SIGKILL)
    read_until(run, "its executor died")
    wait_for(folder, run, running=1, waiting=1)

    stop_between_writes(folder, run)  # it hears nothing any more
    ask(folder, ["cpu"] * 3)
    ask(folder, None)
    run.kill()
    run.communicate(timeout=PATIENCE)
    folder.open()
    code, out, err = folder.call("run", "study.yaml")
    assert code == 0, err
    assert "the budget is used up" in out
    assert "from now on" not in err
    assert values(folder.record()) == values(undisturbed)
