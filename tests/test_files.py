"""Files appear whole or not at all, and nothing but regular files is read or written."""

import errno
import os
from pathlib import Path

import pytest

from cifar_tune.files import is_real_folder, is_regular, read_regular, replace_file


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
