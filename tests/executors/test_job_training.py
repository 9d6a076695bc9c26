"""A job whose checkpoint cannot be used: the trial begins again, and says so."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.job_training import JobReport, JobTrainer
from cifar_tune.executors.messages import Began, Ended, EpochDone, Job, Notice
from cifar_tune.knobs.configuration import complete

DATA = DataSpec(name="digits", train_size=100, val_size=100)


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.mark,)


def truncate(file: Path, _mark: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def pickle_a_bomb(file: Path, mark: Path) -> None:
    file.write_bytes(pickle.dumps(Bomb(mark)))


def save_a_bomb(file: Path, mark: Path) -> None:
    torch.save({"format": "cifar-tune checkpoint", "version": 1, "model": Bomb(mark)}, file)


def save_something_else(file: Path, _mark: Path) -> None:
    torch.save({"model": torch.zeros(3)}, file)


def change_its_configuration(file: Path, _mark: Path) -> None:
    state = torch.load(file, weights_only=True)
    torch.save({**state, "config": {**state["config"], "lr": 9.0}}, file)


def run(job: Job, epochs: int) -> list[JobReport]:
    asked = iter([True] * epochs + [False])
    return list(JobTrainer(torch.device("cpu"), "cpu", lambda: next(asked)).run(job))


@pytest.mark.parametrize("spoil", [truncate, pickle_a_bomb, save_a_bomb, save_something_else, change_its_configuration])
def test_a_checkpoint_that_is_of_no_use(
    spoil: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "cache"))
    config = complete({"model": "cnn2", "width": 4, "epochs": 2})
    job = Job(7, dict(config), DATA, tmp_path / "trial-7.pt")
    first = run(job, 1)
    assert [type(report) for report in first] == [Began, EpochDone, Ended]
    assert isinstance(run(job, 0)[0], Began), "it is of use as long as it is whole"

    spoil(job.checkpoint, tmp_path / "exploded")
    notice, began, *epochs, ended = run(job, 3)
    assert isinstance(notice, Notice)
    assert "it starts again, since its checkpoint is of no use" in notice.text
    assert isinstance(began, Began)
    assert began.results == ()
    assert ended == Ended(7, "completed")
    assert len(epochs) == 2
    assert not (tmp_path / "exploded").exists()
