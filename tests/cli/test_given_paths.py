"""Paths that no shell has completed, in every place that takes one; and files that are pipes."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.storage.urls import ARTIFACTS_VARIABLE, STORAGE_VARIABLE
from tests.processes import start_cifar_tune
from tests.waiting import PATIENCE

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


@contextmanager
def standing_in(stdin: IO[str] | None) -> Iterator[None]:
    """This process's standard input is that file or pipe; None: it is closed."""
    kept = os.dup(0)
    if stdin is None:
        os.close(0)
    else:
        os.dup2(stdin.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@contextmanager
def piped(text: str) -> Iterator[None]:
    """This process's standard input is a pipe that holds the text."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    with os.fdopen(reading) as pipe, standing_in(pipe):
        yield


REFUSED = "name: made\ntrain: {epochs: 0}\n"
WHY = ":2: train.epochs = 0: must be a whole number"


def test_what_a_shell_makes_a_pipe_of_is_read(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(REFUSED)
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m cifar_tune check <(cat study.yaml)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert WHY in ended.stderr


@pytest.mark.parametrize("arguments", [("check", "/dev/stdin"), ("check", "-"), ("train", "-")])
def test_what_stands_in_a_pipe_is_read(cli: Cli, arguments: Sequence[str], tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(REFUSED)
    with subprocess.Popen(["cat", "study.yaml"], stdout=subprocess.PIPE, text=True) as cat, standing_in(cat.stdout):
        from_a_pipe = cli(*arguments)
    with (tmp_path / "study.yaml").open() as file, standing_in(file):
        from_a_file = cli(*arguments)
    for ended in (from_a_pipe, from_a_file):
        assert (ended.code, ended.out) == (2, "")
        assert WHY in ended.err


def test_what_stands_in_a_named_pipe_is_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(REFUSED)
    os.mkfifo(tmp_path / "p")
    with subprocess.Popen(["sh", "-c", "cat study.yaml > p"]):
        ended = cli("check", "p")
    assert (ended.code, ended.out) == (2, "")
    assert WHY in ended.err


def test_pipes_that_hold_no_study(cli: Cli) -> None:
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE, text=True) as yes:
        with standing_in(yes.stdout):
            ended = cli("check", "-")
        yes.kill()
    assert (ended.code, ended.err) == (2, "cifar-tune: /dev/stdin: is larger than 100,000 bytes\n")


def test_a_standard_input_that_is_closed(tmp_path: Path) -> None:
    ended = start_cifar_tune(("check", "-"), tmp_path, os.environ, has_stdin=False)
    out, err = ended.communicate(timeout=PATIENCE)
    assert (ended.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1


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
