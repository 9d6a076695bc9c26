import fcntl
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.unfinished import remove_abandoned, unfinished_file, unfinished_folder


def test_what_is_renamed_stays_and_the_rest_goes(tmp_path: Path) -> None:
    with unfinished_file(tmp_path, "*.partial") as kept:
        kept.write_text("whole")
        kept.replace(tmp_path / "kept")
    with pytest.raises(FileNotFoundError), unfinished_file(tmp_path, "*.partial") as lost:
        lost.replace(tmp_path / "absent" / "kept")
    with unfinished_folder(tmp_path, ".unpacking-*") as folder:
        (folder / "inside").write_text("half")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_is_held_is_left_alone_in_the_same_process_too(tmp_path: Path) -> None:
    with unfinished_file(tmp_path, "*.partial") as file, unfinished_folder(tmp_path, "*.partial") as folder:
        remove_abandoned(tmp_path, "*.partial")
        assert file.exists()
        assert folder.exists()


def test_only_what_has_such_a_name_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a.partial").touch()
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "inside").touch()
    (tmp_path / "other").touch()
    (tmp_path / "link.partial").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "pipe.partial")
    remove_abandoned(tmp_path, "*.partial")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.partial", "other"]
    remove_abandoned(tmp_path / "absent", "*.partial")


def test_without_locks_nothing_is_removed_and_writing_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with unfinished_file(tmp_path, "*.partial") as path:
        remove_abandoned(tmp_path, "*.partial")
        assert path.exists()


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def lock(descriptor: int, operation: int) -> None:
        if not taken:  # another process is faster
            taken.extend(path.name for path in tmp_path.iterdir())
            (tmp_path / taken[0]).unlink()
        flock(descriptor, operation)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock)
    with unfinished_file(tmp_path, "*.partial") as path:
        assert path.exists()
        assert taken != [path.name]


def _write_many(folder: Path, ready: Any) -> None:
    ready.wait()
    for number in range(300):
        with unfinished_file(folder, "*.partial") as path:
            path.write_text(str(number))
            remove_abandoned(folder, "*.partial")
            path.replace(folder / "whole")


def test_processes_that_write_and_remove_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(3)
    processes = [context.Process(target=_write_many, args=(tmp_path, ready)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
