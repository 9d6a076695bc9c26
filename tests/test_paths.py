"""`~` and `$NAME` in every path that people give; the programs that get them are in tests/cli/test_given_paths.py."""

import os
import pwd
from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.paths import PathError, expanded, given_path, is_stream

ME = pwd.getpwuid(os.getuid())


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere/me/")
    monkeypatch.setenv("SCRATCH", "/scratch/$HOME")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("ABSENT", raising=False)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("x/y.db", "x/y.db"),
        ("", ""),
        ("~", "/somewhere/me"),
        ("~/x", "/somewhere/me/x"),
        (f"~{ME.pw_name}/x", f"{ME.pw_dir}/x"),
        ("./~/x", "./~/x"),
        ("x/~/y", "x/~/y"),
        ("x~", "x~"),
        ("$SCRATCH/a", "/scratch/$HOME/a"),  # once, as in a shell
        ("${SCRATCH}a/b", "/scratch/$HOMEa/b"),
        ("a/$SCRATCH", "a//scratch/$HOME"),
        ("~/$SCRATCH", "/somewhere/me//scratch/$HOME"),
        ("price$", "price$"),
        ("5$/$5", "5$/$5"),
        ("${}", "${}"),
    ],
)
def test_what_a_path_stands_for(text: str, path: str) -> None:
    assert expanded(text) == path


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("~nobody-here/x", "there is no user 'nobody-here' on this machine; write ./~nobody-here for a folder of that"),
        ("$ABSENT/x", "the environment variable ABSENT is not set"),
        ("${ABSENT}/x", "the environment variable ABSENT is not set"),
        ("x/$EMPTY/y", "the environment variable EMPTY is empty"),
        ("$SCRATCH/$ABSENT", "the environment variable ABSENT is not set"),
    ],
)
def test_what_stands_for_nothing(text: str, rule: str) -> None:
    with pytest.raises(PathError) as raised:
        expanded(text)
    assert str(raised.value).startswith(rule)
    with pytest.raises(UserError) as refused:
        given_path(text, "--output")
    assert str(refused.value).startswith(f"--output = {text!r}: {rule}")


def test_a_file_whose_very_name_holds_a_dollar_sign_is_found() -> None:
    Path("old$ABSENT").mkdir()
    assert expanded("old$ABSENT") == "old$ABSENT"
    with pytest.raises(PathError):
        expanded("old$ABSENT/new")


def test_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "")
    with pytest.raises(PathError, match="HOME is empty"):
        expanded("~/x")
    monkeypatch.delenv("HOME")
    assert expanded("~/x") == f"{ME.pw_dir}/x"

    def unknown(_number: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)  # as in a container that runs as some number
    with pytest.raises(PathError, match="there is no home folder: set HOME"):
        expanded("~/x")


def test_what_can_be_read_once(tmp_path: Path) -> None:
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_text("x")
    os.mkfifo(pipe)
    assert [is_stream(path) for path in (file, pipe, tmp_path, tmp_path / "absent", Path("/dev/zero"))] == [
        False, True, False, False, False,
    ]  # fmt: skip
    reading, writing = os.pipe()
    assert is_stream(Path(f"/dev/fd/{reading}"))
    os.close(reading)
    os.close(writing)
