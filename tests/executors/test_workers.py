"""How many executors there are, and what is said about it."""

import pytest

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.local import LocalExecutors


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("workers", "threads", "started", "noted"),
    [(None, 1, 2, False), (None, 2, 1, False), (3, 1, 3, True), (1, 1, 1, False)],
)
def test_auto_fits_the_cores(
    workers: int | None, threads: int, started: int, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.executors.local.cpu_count", lambda: 2)
    notes: list[str] = []
    executors = LocalExecutors(workers, ("cpu",), threads, notes.append)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        assert executors.workers == started
    finally:
        executors.close(lambda: True)
    needed = "3 at a time with `threads: 1` need 3 cores, and this machine offers 2: they slow each other down"
    assert [needed in note for note in notes] == [True] * noted


def test_auto_gives_each_named_device_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.local.cpu_count", lambda: 8)
    executors = LocalExecutors(None, ("cpu", "cpu"), 1, lambda _note: None)
    try:
        executors.wait_for_start(DataSpec(name="digits"), "", nothing)
        assert executors.workers == 2
    finally:
        executors.close(lambda: True)
