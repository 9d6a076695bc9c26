"""Which files a plugin can be."""

import hashlib
import os
from pathlib import Path

import pytest

from cifar_tune.plugins.files import PluginFileError, read_plugin_file


def test_path_text_and_hash(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "parts.py").write_bytes("Ä = 1\r\n".encode())
    file = read_plugin_file("./inner/parts.py")
    assert file.path == "inner/parts.py"
    assert file.source == "Ä = 1\r\n"
    assert file.sha256 == hashlib.sha256("Ä = 1\r\n".encode()).hexdigest()


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("parts.txt", "must be a Python file, such as my_parts.py"),
        ("parts", "is no Python file, such as my_parts.py, and no installed package of parts: none is installed"),
        ("", "must be a Python file"),
        ("a\nb.py", "must be a Python file"),
        (
            "../parts.py",
            "must lie below the folder of the study file or the one you start in, without `..`",
        ),
        ("inner/../parts.py", "without `..`"),
        ("{folder}/parts.py", "must lie below the folder"),
        ("part.py", "there is no such file in the folder that cifar-tune is started in"),
        ("out.py", "leads out of the folder that cifar-tune is started in"),
        ("away/parts.py", "leads out of the folder"),
        ("circle.py", "cannot be read: "),
        ("folder.py", "cannot be read: Is a directory"),
        ("pipe.py", "is a device or a pipe, and no file"),
        ("C:\\parts.py", "there is no such file"),
        ("parts\0.py", "must be a Python file"),
        ("binary.py", "is not UTF-8 text (byte 0)"),
        ("large.py", "is larger than 1,000,000 bytes"),
        ("x" * 300 + ".py", "cannot be read: File name too long"),
    ],
)
def test_refused(path: str, rule: str, tmp_path_factory: pytest.TempPathFactory, folder: Path) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "parts.py").write_text("MODELS = {}")
    (folder / "parts.py").write_text("")
    (folder / "inner").mkdir()
    (folder / "out.py").symlink_to(outside / "parts.py")
    (folder / "away").symlink_to(outside)
    (folder / "circle.py").symlink_to(folder / "circle.py")
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    (folder / "binary.py").write_bytes(b"\xff")
    (folder / "large.py").write_bytes(b"#" * 1_000_001)
    with pytest.raises(PluginFileError) as raised:
        read_plugin_file(path.format(folder=folder))
    assert rule in str(raised.value)


def test_the_nearest_file_is_named(folder: Path) -> None:
    (folder / "my_parts.py").write_text("")
    with pytest.raises(PluginFileError) as raised:
        read_plugin_file("my_prats.py")
    assert raised.value.nearest == "my_parts.py"


def test_a_link_inside_the_folder_may_be_followed(folder: Path) -> None:
    (folder / "parts.py").write_text("A = 1")
    (folder / "link.py").symlink_to(folder / "parts.py")
    assert read_plugin_file("link.py").source == "A = 1"


def test_a_file_beside_the_study_is_found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    studies = folder / "studies"
    studies.mkdir()
    (studies / "parts.py").write_text("A = 1")
    file = read_plugin_file("parts.py", studies)
    assert (file.path, file.folder) == ("parts.py", "studies")
    assert read_plugin_file("parts.py", folder=file.folder) == file  # where there is no study file any more
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "parts.py").write_text("A = 2")
    assert read_plugin_file("parts.py", elsewhere).folder == str(elsewhere)
    assert read_plugin_file("studies/parts.py", elsewhere).folder == ""  # as before: where cifar-tune is started
    with pytest.raises(PluginFileError, match=r"there is no such file in .*elsewhere.* or the folder that"):
        read_plugin_file("nothing.py", elsewhere)


def test_two_files_of_one_name_must_have_the_same_code(folder: Path) -> None:
    studies = folder / "studies"
    studies.mkdir()
    (studies / "parts.py").write_text("A = 1  # beside the study")
    (folder / "parts.py").write_text("A = 1")
    assert read_plugin_file("parts.py", studies).source.endswith("study")
    (folder / "parts.py").write_text("A = 2")
    with pytest.raises(PluginFileError) as raised:
        read_plugin_file("parts.py", studies)
    assert str(raised.value) == (
        f"there are two such files with different code, in {studies} and in the folder that cifar-tune is started in: "
        f"remove or rename the one that is not meant"
    )


def test_the_folder_of_the_study_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PluginFileError) as raised:
        read_plugin_file("part.py", Path())
    words = f"there is no such file in {tmp_path} (the folder of the study file, in which cifar-tune was started)"
    assert words in str(raised.value)
