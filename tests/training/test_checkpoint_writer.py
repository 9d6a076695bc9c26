"""Checkpoints written from a thread of their own."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from cifar_tune.training import checkpoint
from cifar_tune.training.checkpoint import CheckpointError, CheckpointWriter, save
from tests.waiting import PATIENCE


def state_of(path: Path) -> dict[str, Any]:
    line, _, content = path.read_bytes().partition(b"\n")
    assert line.startswith(b"cifar-tune checkpoint 2 ")
    state: dict[str, Any] = torch.load(BytesIO(content), weights_only=True)
    return state


class SlowDisk:
    """Stands in for `save`: each write waits until it is let through."""

    def __init__(self) -> None:
        self.started = Event()
        self.go = Event()
        self.written: list[int] = []

    def save(self, path: Path, state: Mapping[str, Any], plugins: Sequence[str]) -> None:
        self.started.set()
        assert self.go.wait(timeout=PATIENCE)
        self.written.append(state["epoch"])
        save(path, state, plugins)


@contextmanager
def writing(path: Path) -> Iterator[CheckpointWriter]:
    """As an executor uses a writer."""
    writer = CheckpointWriter(path)
    try:
        yield writer
    finally:
        writer.finish()
    writer.flush()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk = SlowDisk()
    monkeypatch.setattr(checkpoint, "save", disk.save)
    return disk


def test_flush_waits_for_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with writing(path) as writer:
        for epoch in range(1, 6):
            writer.write({"epoch": epoch})
            writer.flush()
            assert state_of(path)["epoch"] == epoch


def test_finishing_writes_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with writing(path) as writer:
        for epoch in range(1, 20):
            writer.write({"epoch": epoch})
    assert state_of(path)["epoch"] == 19


def test_only_the_newest_of_those_that_wait_is_written(tmp_path: Path, slow_disk: SlowDisk) -> None:
    with writing(tmp_path / "checkpoint.pt") as writer:
        writer.write({"epoch": 1})
        assert slow_disk.started.wait(timeout=PATIENCE)
        for epoch in (2, 3, 4):
            writer.write({"epoch": epoch})  # returns while the first write still waits
        slow_disk.go.set()
    assert slow_disk.written == [1, 4]


def test_the_state_is_that_of_the_call(tmp_path: Path, slow_disk: SlowDisk) -> None:
    path = tmp_path / "checkpoint.pt"
    weights = torch.zeros(3)
    moments = [torch.zeros(2)]
    with writing(path) as writer:
        writer.write({"epoch": 1, "model": {"weights": weights}, "moments": moments})
        weights.fill_(7)
        moments[0].fill_(7)
        slow_disk.go.set()
    state = state_of(path)
    assert not state["model"]["weights"].any()
    assert not state["moments"][0].any()


def test_memory_format_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    weights = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    with writing(path) as writer:
        writer.write({"epoch": 1, "weights": weights})
    loaded = state_of(path)["weights"]
    assert loaded.equal(weights)
    assert loaded.stride() == weights.stride()


def test_an_error_surfaces_in_flush_and_only_once(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path / "absent" / "checkpoint.pt")
    writer.write({"epoch": 1})
    with pytest.raises(CheckpointError, match="No such file or directory"):
        writer.flush()
    writer.finish()
    writer.flush()


def write_many(writer: CheckpointWriter) -> None:
    """Until the first failure shows, or nobody waits for that any more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        writer.write({"epoch": 1})


def test_an_error_surfaces_in_a_later_write(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path / "absent" / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="No such file or directory"):
        write_many(writer)


def test_an_error_surfaces_after_finishing(tmp_path: Path) -> None:
    with (
        pytest.raises(CheckpointError, match="No such file or directory"),
        writing(tmp_path / "absent" / "checkpoint.pt") as writer,
    ):
        writer.write({"epoch": 1})
