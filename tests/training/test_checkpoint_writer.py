"""Checkpoints written from a thread of their own."""

from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from cifar_tune.training import checkpoint_writer
from cifar_tune.training.checkpoint import CheckpointError, save
from cifar_tune.training.checkpoint_writer import CheckpointWriter


def epoch_of(path: Path) -> int:
    state: dict[str, int] = torch.load(path, weights_only=True)
    return state["epoch"]


class SlowDisk:
    """Stands in for `save`: each write waits until it is let through."""

    def __init__(self) -> None:
        self.started = Event()
        self.go = Event()
        self.written: list[int] = []

    def save(self, path: Path, state: Mapping[str, Any]) -> None:
        self.started.set()
        assert self.go.wait(timeout=30)
        self.written.append(state["epoch"])
        save(path, state)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk = SlowDisk()
    monkeypatch.setattr(checkpoint_writer, "save", disk.save)
    return disk


def test_flush_waits_for_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with CheckpointWriter(path) as writer:
        for epoch in range(1, 6):
            writer.write({"epoch": epoch})
            writer.flush()
            assert epoch_of(path) == epoch


def test_closing_writes_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with CheckpointWriter(path) as writer:
        for epoch in range(1, 20):
            writer.write({"epoch": epoch})
    assert epoch_of(path) == 19


def test_only_the_newest_of_those_that_wait_is_written(tmp_path: Path, slow_disk: SlowDisk) -> None:
    with CheckpointWriter(tmp_path / "checkpoint.pt") as writer:
        writer.write({"epoch": 1})
        assert slow_disk.started.wait(timeout=30)
        for epoch in (2, 3, 4):
            writer.write({"epoch": epoch})  # returns while the first write still waits
        slow_disk.go.set()
    assert slow_disk.written == [1, 4]


def test_the_state_is_that_of_the_call(tmp_path: Path, slow_disk: SlowDisk) -> None:
    path = tmp_path / "checkpoint.pt"
    weights = torch.zeros(3)
    moments = [torch.zeros(2)]
    with CheckpointWriter(path) as writer:
        writer.write({"epoch": 1, "model": {"weights": weights}, "moments": moments})
        weights.fill_(7)
        moments[0].fill_(7)
        slow_disk.go.set()
    state = torch.load(path, weights_only=True)
    assert not state["model"]["weights"].any()
    assert not state["moments"][0].any()


def test_memory_format_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    weights = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    with CheckpointWriter(path) as writer:
        writer.write({"epoch": 1, "weights": weights})
    loaded = torch.load(path, weights_only=True)["weights"]
    assert loaded.equal(weights)
    assert loaded.stride() == weights.stride()


def test_an_error_surfaces_in_flush_and_only_once(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path / "absent" / "checkpoint.pt")
    writer.write({"epoch": 1})
    with pytest.raises(CheckpointError, match="No such file or directory"):
        writer.flush()
    writer.close()


def write_many(writer: CheckpointWriter) -> None:
    """More than are ever taken before the first failure shows."""
    for epoch in range(10_000):
        writer.write({"epoch": epoch})


def test_an_error_surfaces_in_a_later_write(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path / "absent" / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="No such file or directory"):
        write_many(writer)


def test_an_error_surfaces_at_the_end_of_the_context(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match="No such file or directory"),
        CheckpointWriter(tmp_path / "absent" / "checkpoint.pt") as writer,
    ):
        writer.write({"epoch": 1})


def fail_while_writing(path: Path) -> None:
    with CheckpointWriter(path) as writer:
        writer.write({"epoch": 1})
        raise ZeroDivisionError


def test_an_error_of_the_training_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(tmp_path / "absent" / "checkpoint.pt")
