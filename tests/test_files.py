"""Files appear whole or not at all, and nothing but regular files is read or written."""

import errno
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from cifar_tune.files import UNFINISHED, is_real_folder, is_regular, read_regular, replace_file, replace_files


def test_a_file_is_replaced_with_the_usual_rights(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    replace_file(file, "größer\r\n")
    replace_file(file, b"new")
    assert file.read_bytes() == b"new"
    plain = tmp_path / "plain"
    plain.touch()
    assert file.stat().st_mode == plain.stat().st_mode
    assert sorted(each.name for each in tmp_path.iterdir()) == ["plain", "report.html"]


def test_text_keeps_its_line_ends(tmp_path: Path) -> None:
    replace_file(tmp_path / "x.csv", "ü\r\n\n")
    assert (tmp_path / "x.csv").read_bytes() == "ü\r\n\n".encode()


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "nowhere").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "nowhere", "pipe"):
        replace_file(tmp_path / name, name)
        assert is_regular(tmp_path / name)
        assert (tmp_path / name).read_text() == name
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "absent").exists()


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "folder", "new")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "absent", "device", "large"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    match kind:
        case "link":
            (tmp_path / "file").write_text("secret")
            path.symlink_to("file")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path = Path("/dev/zero")
        case "large":
            path.write_bytes(bytes(11))
    with pytest.raises(OSError):  # noqa: PT011 (of several kinds)
        read_regular(path, 10)
    assert is_regular(path) == (kind == "large")
    assert is_real_folder(path) == (kind == "folder")


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(10))
    assert read_regular(tmp_path / "x", 10) == bytes(10)
    (tmp_path / "link").symlink_to(tmp_path)
    assert not is_real_folder(tmp_path / "link")


Call = Callable[..., object]


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink()


def files_of(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


@pytest.mark.parametrize("call", ["open", "fsync", "link", "replace", "unlink"])
def test_an_error_at_any_file_leaves_all_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The error comes at each call in turn; only one of a clean-up at the very end changes nothing any more."""
    names = ["a", "b", "c", "new"]
    old = {"a": "old a", "b": "old b", "c": "old c", "former": "old former", "gone": "old gone", "mine": "mine"}
    wanted = {name: f"new {name}" for name in names} | {"mine": "mine"}
    real: Call = getattr(os, call)
    for number in count(1):
        empty(tmp_path)
        for name, text in old.items():
            (tmp_path / name).write_text(text)
        calls = count(1)

        def full(*arguments: object, number: int = number, calls: Iterator[int] = calls, **more: object) -> object:
            if next(calls) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            try:
                replace_files(
                    {tmp_path / name: f"new {name}" for name in names},
                    [tmp_path / "former", tmp_path / "gone", tmp_path / "absent"],
                )
            except OSError as error:
                found = error
            else:
                break
        assert found.errno == errno.ENOSPC
        assert str(found.filename) in {str(tmp_path / name) for name in [*names, "former", "gone"]}
        assert files_of(tmp_path) == old, number
        assert not list(tmp_path.glob(UNFINISHED))
    is_cleaning = call in ("open", "unlink")  # which the removal of the hidden folder calls, too
    assert next(calls) <= number or is_cleaning, "the error would not have come"
    assert files_of(tmp_path) == wanted
    assert number == {"open": 6, "fsync": 5, "link": 6, "replace": 5, "unlink": 3}[call]


def test_without_hard_links_old_files_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", unknown)
    test_an_error_at_any_file_leaves_all_old_ones(tmp_path, monkeypatch, "fsync")
    empty(tmp_path)
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError, match="b"):  # when the old a has its other name already
        replace_files({tmp_path / "a": "new", tmp_path / "b": "new"})
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(IsADirectoryError, match="b"):
        replace_files({tmp_path / "link": "new", tmp_path / "b": "new"})
    assert (tmp_path / "link").readlink() == Path("a")
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b", "link"]


def test_an_interruption_among_the_renames_leaves_all_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "b").write_text("old b")
    calls = count(1)
    real = os.replace

    def interrupted(source: Path, target: Path) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_files({tmp_path / "a": "new", tmp_path / "b": "new", tmp_path / "c": "new"})
    assert files_of(tmp_path) == {"a": "old a", "b": "old b"}


def _killed_at_its_second_rename(folder: Path) -> None:
    real, calls = os.replace, count(1)

    def replace(source: Path, target: Path) -> None:
        if next(calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    os.replace = replace  # type: ignore[assignment]
    replace_files({folder / "a": "half", folder / "b": "half", folder / "c": "half"})


def test_what_a_killed_process_leaves_is_removed_when_files_are_written_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("old")
    process = multiprocessing.get_context("fork").Process(target=_killed_at_its_second_rename, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert files_of(tmp_path) == {"a": "half", "b": "old"}
    assert len(list(tmp_path.glob(UNFINISHED))) == 1
    replace_file(tmp_path / "b", "new")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_two_that_write_into_one_folder_leave_each_other_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", real)
        replace_file(tmp_path / "b", "second")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    replace_file(tmp_path / "a", "first")
    assert files_of(tmp_path) == {"a": "first", "b": "second"}
