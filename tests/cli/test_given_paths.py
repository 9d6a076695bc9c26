"""Paths that no shell has completed, in every place that takes one; and files that are pipes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE, STORAGE_VARIABLE

from .conftest import Cli

STUDY = """name: made
data: {name: digits, val_size: 300, train_size: 200}
sampler: {name: random}
budget: {trials: 1}
train: {model: cnn2, width: 4, epochs: 1}
search_space:
  lr: {low: 1e-3, high: 0.1, log: true}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SCRATCH", str(home))
    monkeypatch.delenv("ABSENT", raising=False)
    return home


@pytest.mark.usefixtures("blank_pictures")
def test_every_place_that_takes_a_path(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "study.yaml").write_text(STUDY)
    monkeypatch.setenv(CACHE_VARIABLE, "~/cache")
    monkeypatch.setenv(ARTIFACTS_VARIABLE, "$SCRATCH/artifacts")
    monkeypatch.setenv(STORAGE_VARIABLE, "sqlite:///~/studies.db")
    assert cli("run", "~/study.yaml", "--quiet").code == 0
    assert any((home / "artifacts").iterdir())
    assert (home / "studies.db").is_file()
    assert any((home / "cache").iterdir())
    assert cli("status", "made", "--storage", "sqlite:///${SCRATCH}/studies.db").code == 0
    assert cli("export", "made", "--output=~/report").code == 0
    (home / "known.yaml").write_text(STUDY + "start_from: [~/report/best.yaml]\n")
    assert cli("run", "~/known.yaml", "--set", "name=known", "--quiet").code == 0
    assert cli("compare", "known", "--by", "lr", "--output", "$SCRATCH/compared").code in (0, 2)  # of one trial
    range_ = ("lr-range", "$SCRATCH/report/best.yaml", "--steps", "30", "--write=~/study.yaml")
    assert cli(*range_, "--output=~/range").code in (0, 1)  # 1: there is no range to suggest
    assert (home / "range" / "lr_range.png").is_file()
    assert [path.name for path in Path.cwd().iterdir()] == ["home"]


def test_images_lie_where_the_study_file_says(cli: Cli, home: Path) -> None:
    Path("study.yaml").write_text("name: x\ndata: {name: image_folder, root: ~/images}\n")
    rule = f"there is no such folder ({home / 'images'})"
    assert cli("check", "study.yaml").err == f"cifar-tune: study.yaml:2: data.root = '~/images': {rule}\n"


@pytest.mark.parametrize("path", ["~nobody-here/x", "$ABSENT/x"])
def test_what_stands_for_nothing_is_refused_in_every_place(
    cli: Cli, home: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del home
    rule = "there is no user 'nobody-here'" if path[0] == "~" else "the environment variable ABSENT is not set"
    Path("study.yaml").write_text(STUDY)
    Path("images.yaml").write_text(f"name: x\ndata: {{name: image_folder, root: {path}}}\n")
    Path("archive.yaml").write_text(f"name: x\ndata: {{root: {path}}}\n")
    Path("plugin.yaml").write_text(f"name: x\nplugins: [{path}.py]\n")
    Path("known.yaml").write_text(f"name: x\nstart_from: [{path}]\n")
    Path("best.yaml").write_text("data: {name: digits}\ntrain: {model: cnn2}\n")
    for arguments, place in {
        ("status", "--storage", f"sqlite:///{path}.db"): f"--storage = '{path}.db'",
        ("run", f"{path}.yaml"): f"STUDY = '{path}.yaml'",
        ("train", f"{path}.yaml"): f"CONFIG = '{path}.yaml'",
        ("export", "made", f"--output={path}"): f"--output = '{path}'",
        ("compare", "made", "--by", "lr", f"--output={path}"): f"--output = '{path}'",
        ("filters", "best.yaml", f"--output={path}"): f"--output = '{path}'",
        ("lr-range", "best.yaml", f"--write={path}"): f"--write = '{path}'",
        ("knobs", "--plugins", f"{path}.py"): f"--plugins: plugins[0] = '{path}.py'",
        ("check", "images.yaml"): f"images.yaml:2: data.root = '{path}'",
        ("check", "archive.yaml"): f"archive.yaml:2: data.root = '{path}'",
        ("check", "plugin.yaml"): f"plugin.yaml:2: plugins[0] = '{path}.py'",
        ("check", "known.yaml"): f"known.yaml:2: start_from[0] = '{path}'",
    }.items():
        ended = cli(*arguments)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
        assert ended.err.startswith(f"cifar-tune: {place}: {rule}")
    for variable, command in {
        CACHE_VARIABLE: ("train", "best.yaml"),
        ARTIFACTS_VARIABLE: ("run", "study.yaml"),
        STORAGE_VARIABLE: ("status",),
    }.items():
        with monkeypatch.context() as context:
            context.setenv(variable, f"sqlite:///{path}" if variable == STORAGE_VARIABLE else path)
            ended = cli(*command)
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
        assert ended.err.startswith(f"cifar-tune: {variable} = '{path}': {rule}")


def test_a_plugin_outside_of_the_folder_is_refused_as_such(cli: Cli, home: Path) -> None:
    (home / "parts.py").write_text("")
    ended = cli("knobs", "--plugins", "~/parts.py")
    words = "must lie below the folder of the study file or the one you start in, without `..`\n"
    assert ended.err.endswith(words)


def shell(command: str, folder: Path, text: str = "") -> "subprocess.CompletedProcess[str]":
    program = f"{sys.executable} -m cifar_tune"
    return subprocess.run(
        ["bash", "-c", command.replace("cifar-tune", program)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        "cifar-tune check <(cat study.yaml)",
        "cat study.yaml | cifar-tune check /dev/stdin",
        "cifar-tune check - < study.yaml",
        "mkfifo p; cat study.yaml > p & cifar-tune check p",
        "cifar-tune train - < study.yaml",
    ],
)
def test_what_stands_in_a_pipe_is_read(command: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: made\ntrain: {epochs: 0}\n")
    ended = shell(command, tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ":2: train.epochs = 0: must be a whole number" in ended.stderr


def test_pipes_that_hold_no_study(tmp_path: Path) -> None:
    ended = shell("yes | cifar-tune check -", tmp_path)
    assert (ended.returncode, ended.stderr) == (2, "cifar-tune: /dev/stdin: is larger than 100,000 bytes\n")
    ended = shell("cifar-tune check - <&-", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1


@contextmanager
def piped(text: str) -> Iterator[None]:
    """This process's standard input is a pipe that holds the text."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_a_study_that_came_out_of_a_pipe_goes_on_by_its_name(cli: Cli) -> None:
    with piped(STUDY.replace("trials: 1", "trials: 100000, timeout: 1s")):
        ended = cli("run", "-", "--quiet")
    assert ended.code in (0, 1), ended.err  # 1: not one trial was completed within a second
    assert "go on with: cifar-tune run made --quiet --timeout 2s" in ended.out


def test_a_configuration_out_of_a_pipe(cli: Cli) -> None:
    with piped("data: {name: digits, train_size: 200}\ntrain: {model: cnn2, width: 4, epochs: 1}\n"):
        ended = cli("lr-range", "-", "--steps", "30")
    assert ended.code == 0, ended.err
    assert "file=reports/stdin/lr_range.png" in ended.out.splitlines()


def test_a_pipe_is_nothing_to_write_into(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("data: {name: digits}\ntrain: {model: cnn2}\n")
    os.mkfifo(tmp_path / "study.yaml")
    ended = cli("lr-range", "best.yaml", "--write", "study.yaml")
    assert ended.err == "cifar-tune: study.yaml: is a pipe: name a file to write the range into\n"
