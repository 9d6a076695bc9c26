"""Every command while the test images are closed: none needs them but finalize, and verify where it is asked to."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cifar_tune.cli.main import app
from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.storage.urls import STORAGE_VARIABLE
from tests.data.images import write_folder
from tests.processes import call_cifar_tune, start_cifar_tune

STUDY = """name: closed
budget: {trials: 2}
sampler: {name: random}
pruner: {name: none}
data: {name: image_folder, root: photos, image_size: 8, val_size: 20}
train: {model: cnn2, width: 4, epochs: 1, batch_size: 32, precision: fp32}
search_space: {lr: {choices: [0.02, 0.05]}}
"""
CONFIG = "reports/closed/best.yaml"
IMAGE = "photos/train/ant/000.png"
BEFORE: Sequence[tuple[str, ...]] = (
    ("run", "closed.yaml", "--workers", "1"),
    ("export", "closed"),
    ("finalize", "closed", "--quick"),
    ("bundle", "closed"),
)
"""With all images, since later commands need what they make."""

COMMANDS: Sequence[tuple[str, ...]] = (
    ("knobs",),
    ("check", "closed.yaml"),
    ("run", "closed.yaml", "--workers", "1", "--trials", "3"),
    ("run", "closed.yaml", "--workers", "1", "--evolve", "--yes", "--set", "train.epochs=2", "--trials", "1"),
    ("status",),
    ("status", "closed", "--json"),
    ("watch", "closed", "--once"),
    ("export", "closed", "--weights"),
    ("compare", "closed", "--by", "lr"),
    ("train", CONFIG, "--save", "trained"),
    ("layers", CONFIG),
    ("filters", CONFIG),
    ("lr-range", CONFIG, "--steps", "30"),
    ("landscape", CONFIG, "--against", "norm=none", "--lrs", "0.01,0.02", "--epochs", "1"),
    ("convert", "trained", "--to", "pt2"),
    ("predict", "models/closed", IMAGE),
    ("bundle", "closed", "--output", "again.zip"),
    ("verify", "bundles/closed.zip", "--retrain"),
    ("finalize", "closed", "--quick"),  # prints what is on the record
    ("finalize", "closed", "--again", "--dry-run"),
    ("delete", "closed@1", "--yes"),
    ("owner", "anna", "--weight", "2"),
    ("token", "list"),
    ("submit", "closed.yaml", "--set", "name=shared"),
    ("priority", "shared", "3"),
    ("workers", "shared", "1"),
    ("pause", "shared"),
    ("resume", "shared"),
    ("cancel", "shared"),
    ("stop", "closed"),
    ("queue", "--all"),
    ("events",),
    ("db", "check"),
)
FEW = ("check", "run", "export", "train", "predict", "verify", "finalize")
"""The commands of the quick test: those that read images, or what was made of them."""

REFUSED: Sequence[tuple[str, ...]] = (
    ("finalize", "closed", "--quick", "--again"),
    ("verify", "bundles/closed.zip", "--test"),
)

_closed: list[str] = []


def _deny(event: str, arguments: tuple[Any, ...]) -> None:
    if _closed and event in ("open", "os.scandir", "os.listdir"):
        path = arguments[0]
        if isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(_closed[0]):  # noqa: PTH100
            raise PermissionError(13, "Permission denied", os.fspath(path))


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Nobody in this process opens a file in the folder or lists it, not even root; other processes find garbage."""
    for file in folder.rglob("*.png"):
        file.write_bytes(b"closed")
    if not hasattr(sys, "_denies"):
        sys.addaudithook(_deny)
        sys._denies = True  # type: ignore[attr-defined]
    _closed.append(str(folder))
    try:
        yield
    finally:
        _closed.clear()


@contextmanager
def serving(command: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """While a command serves pages."""
    server = start_cifar_tune(command, folder, environment)
    assert server.stdout is not None
    assert server.stdout.readline().startswith("http://")
    yield
    server.send_signal(signal.SIGINT)
    server.communicate()


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param([command for command in COMMANDS if command[0] in FEW], id="few"),
        pytest.param(COMMANDS, id="all", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.usefixtures("blank_pictures")
def test_no_command_but_finalize_and_verify_looks_at_test_images(
    commands: Sequence[tuple[str, ...]], tmp_path: Path
) -> None:
    write_folder(tmp_path / "photos/train", {"ant": 60, "bee": 60})
    write_folder(tmp_path / "photos/test", {"ant": 5, "bee": 5}, seed=1)
    (tmp_path / "closed.yaml").write_text(STUDY)
    environment = {
        **os.environ,
        CACHE_VARIABLE: str(tmp_path / "cache"),
        STORAGE_VARIABLE: f"sqlite:///{tmp_path}/s.db",
    }
    for command in BEFORE:
        code, _, err = call_cifar_tune(command, tmp_path, environment)
        assert code == 0, (command, err)
    shutil.rmtree(tmp_path / "cache")
    with closed(tmp_path / "photos/test"):
        for command in commands:
            code, _, err = call_cifar_tune(command, tmp_path, environment)
            assert code == 0, (command, err)
        for command in REFUSED:
            code, out, err = call_cifar_tune(command, tmp_path, environment)
            assert code == 2, (command, out, err)
            assert "photos/test: cannot be read (Permission denied)" in err, (command, err)
            assert "Traceback" not in err
        if commands is COMMANDS:
            serve(tmp_path, environment)
    assert not (tmp_path / "cache/test").exists()


def serve(folder: Path, environment: Mapping[str, str]) -> None:
    with serving(("dashboard", "--port", "0"), folder, environment):
        pass
    with serving(("serve", "--port", "0", "--devices", "cpu", "--slots", "1"), folder, environment):
        submitted = ("submit", "closed.yaml", "--set", "name=shared", "--wait")
        code, _, err = call_cifar_tune(submitted, folder, environment)
        assert code == 0, err


def test_every_command_is_tried() -> None:
    tried = {command[0] for command in (*COMMANDS, *REFUSED)} | {"dashboard", "serve"}
    assert tried == set(get_command(app).commands)  # type: ignore[attr-defined]
