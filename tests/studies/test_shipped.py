"""The study files that ship, and the ones that the README shows."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cifar_tune.cli.main import app
from cifar_tune.study_spec.reader import read_study, read_study_file
from cifar_tune.study_spec.yaml_reader import read_yaml
from tests.exhaustive import few_of
from tests.processes import call_cifar_tune

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").rglob("*.yaml"))
README = (ROOT / "README.md").read_text()


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins are found from the folder that a command is started in."""
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("file", few_of(STUDIES, STUDIES[::6]), ids=lambda file: str(file.stem))
def test_every_study_is_in_order(file: Path) -> None:
    read = read_study_file(file)
    assert not read.notes
    names = [read_study_file(other).spec.name for other in STUDIES]
    assert names.count(read.spec.name) == 1, "two studies would share one name in the storage"


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: str(file.stem))
def test_the_commands_in_its_comments_name_it(file: Path) -> None:
    named = set(re.findall(r"studies/\S+\.yaml", file.read_text()))
    assert named == {file.relative_to(ROOT).as_posix()}


def test_the_readme_shows_the_study_that_ships() -> None:
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block
    shown = read_study(read_yaml(block.group(1)), None).spec
    assert shown == read_study_file(ROOT / "studies" / "resnet.yaml").spec


def test_the_readme_names_every_command() -> None:
    for command in app.registered_commands:
        assert f"`cifar-tune {command.name}" in README


@pytest.mark.usefixtures("blank_pictures")
def test_resnet_runs_small_on_an_image_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        folder = tmp_path / "images" / "train" / label
        folder.mkdir(parents=True)
        for index in range(40):
            pixels = rng.integers(0, 128, (32, 32, 3)) + (64 if label == "dog" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.jpg")
    settings = {
        "name": "small",
        "epochs": 2,
        "width": 4,
        "batch_size": 16,
        "data.name": "image_folder",
        "data.root": str(tmp_path / "images"),
        "data.val_size": 20,
    }
    options = [option for key, value in settings.items() for option in ("--set", f"{key}={value}")]
    command = ("run", str(ROOT / "studies" / "resnet.yaml"), "--trials", "2", *options)
    code, out, err = call_cifar_tune(command, tmp_path, os.environ)
    assert code == 0, err
    assert "small: the budget is used up" in out
    assert "best_trial=" in out
    code, _, err = call_cifar_tune(("export", "small"), tmp_path, os.environ)
    assert code == 0, err
    best = yaml.safe_load((tmp_path / "reports" / "small" / "best.yaml").read_text())
    assert best["train"]["model"] == "resnet18"
    assert best["train"]["width"] == 4
