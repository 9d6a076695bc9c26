"""How many executors share a GPU, found out by trying; the GPU is played."""

from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.job_training import JobTrainer
from cifar_tune.executors.local import LocalExecutors
from cifar_tune.executors.messages import Quit, Ready, Rehearsal, Rehearsed
from cifar_tune.study.rehearsing import rehearsal_of
from tests.reports.factory import make_spec

GB = 1 << 30
DIGITS = DataSpec(name="digits", val_size=100)
REHEARSAL = Rehearsal({}, (), DIGITS)


def play(free: int, connection: Connection, device: str, slot: int) -> None:
    """An executor of a GPU that trains 1000 images per second for each, and 2500 at most; its memory is `free`."""
    there = Path(device)
    (there / f"{slot}").touch()
    connection.send(Ready("cuda:0", {}))
    while not isinstance(order := connection.recv(), Quit):
        assert isinstance(order, Rehearsal)
        executors = len(list(there.iterdir()))
        left = free - executors * 2 * GB
        connection.send(Rehearsed(min(1000.0, 2500 / executors), GB, left, 80 * GB))


@pytest.mark.parametrize(
    ("free", "cores", "chosen", "paces"),
    [
        (80 * GB, 64, 4, "1: 1,000, 2: 2,000, 4: 2,500, 8: 2,500"),
        (80 * GB, 2, 2, "1: 1,000, 2: 2,000"),  # each needs a core
        (7 * GB, 64, 2, "1: 1,000, 2: 2,000"),  # two more would need 4 GB
        (3 * GB, 64, 1, "1: 1,000"),
    ],
)
def test_as_many_as_train_more_together(
    free: int, cores: int, chosen: int, paces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.executors.local.cpu_count", lambda: cores)
    notes: list[str] = []
    executors = LocalExecutors(None, (str(tmp_path),), 1, notes.append, partial(play, free), REHEARSAL)
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        assert executors.workers == chosen
        assert executors.idle()
        assert notes == [
            f"--workers auto: {chosen} on each GPU; images/s by executors per GPU: {paces}; the largest model takes "
            "1.1 GB of 85.9"
        ]
    finally:
        executors.close(lambda: True)


def dies(connection: Connection, _device: str, _slot: int) -> None:
    connection.send(Ready("cuda:0", {}))
    if not isinstance(connection.recv(), Quit):
        connection.close()


def test_where_it_cannot_be_tried_there_is_one_on_each(tmp_path: Path) -> None:
    executors = LocalExecutors(None, (str(tmp_path),), 1, lambda _note: None, dies, REHEARSAL)
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        assert executors.workers == 1
    finally:
        executors.close(lambda: True)


def test_a_rehearsal_trains() -> None:
    """On a CPU here; it asks a GPU for its memory besides."""
    trainer = JobTrainer(torch.device("cpu"), "cpu", lambda: True)
    space = {"width": {"choices": [4, 8, 16]}, "lr": {"low": 1e-4, "high": 1.0, "log": True}}
    rehearsal = rehearsal_of(make_spec(space, train={"model": "cnn2"}, data={"name": "digits", "val_size": 100}))
    assert (rehearsal.typical["width"], [each["width"] for each in rehearsal.largest]) == (8, [16])
    assert trainer.rehearse(rehearsal).images_per_second > 0
    assert trainer.rehearse(Rehearsal({}, (), DIGITS)) == Rehearsed(0.0)
