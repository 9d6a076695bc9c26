"""The commands that look into one configuration: files, result lines, refusals, interruption."""

import csv
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image
from torch import Tensor

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.sources import digits
from cifar_tune.training.learner import Learner

from .conftest import Cli, Ended

CONFIG = """data: {name: digits, image_size: 16, val_size: 100, train_size: 200}
train: {model: cnn2, width: 4, epochs: 1, batch_size: 32, lr: 0.01, optimizer: sgd}
"""
STUDY = "name: made\nsearch_space:\n  lr: {low: 1e-4, high: 1.0, log: true}  # mine\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, cache: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(cache))
    (tmp_path / "small.yaml").write_text(CONFIG)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "fixed.yaml").write_text("name: made\ntrain: {lr: 0.1}\n")


def values(ended: Ended) -> dict[str, str]:
    assert ended.code == 0, ended.err
    return dict(line.split("=", 1) for line in ended.out.splitlines())


def test_lr_range(cli: Cli, tmp_path: Path) -> None:
    found = values(cli("lr-range", "small.yaml", "--steps", "120", "--write", "study.yaml"))
    assert found["written"] == "study.yaml"
    low, high = float(found["low"]), float(found["high"])
    assert 1e-5 < low < high < 10
    expected = STUDY.replace("low: 1e-4", f"low: {low:.12g}").replace("high: 1.0", f"high: {high:.12g}")
    assert (tmp_path / "study.yaml").read_text() == expected
    folder = tmp_path / "reports" / "small"
    assert {file.name for file in folder.iterdir()} == {"lr_range.png", "lr_range.csv", "lr_range.json"}
    assert Image.open(folder / "lr_range.png").size[0] > 500
    rows = list(csv.DictReader((folder / "lr_range.csv").open()))
    assert len(rows) == int(found["steps"])
    assert float(rows[0]["lr"]) == 1e-5
    summary = json.loads((folder / "lr_range.json").read_text())
    assert (summary["low"], summary["high"]) == (low, high)


def test_no_suggestion_writes_nothing_and_says_why(cli: Cli, tmp_path: Path) -> None:
    tested = ("lr-range", "small.yaml", "--high", "2e-5", "--steps", "40")
    found = values(cli(*tested))
    assert found["suggestion"] == "none"
    assert "hardly falls" in found["reason"]
    ended = cli(*tested, "--write", "study.yaml")
    assert ended.code == 1
    assert "study.yaml stays as it is: the loss hardly falls" in ended.err
    assert (tmp_path / "study.yaml").read_text() == STUDY


def test_landscape(cli: Cli, tmp_path: Path) -> None:
    lrs = ("--lrs", "1e-2,1e-1,1e30", "--distances", "1,2")
    found = values(cli("landscape", "small.yaml", *lrs, "--output", "out", "--set", "norm=batch", "--epochs", "2"))
    assert (found["configuration"], found["against"]) == ("norm=batch", "norm=none")
    assert found["against_diverged"] == "1"
    assert float(found["configuration_beta"]) > 0
    rows = list(csv.DictReader((tmp_path / "out" / "landscape.csv").open()))
    assert list(rows[0]) == ["model", "lr", "step", "loss", "gradient_change_1", "gradient_change_2", "beta"]
    first = [row for row in rows if (row["model"], row["lr"]) == ("norm=batch", "0.01")]
    assert [row["step"] for row in first] == [str(step) for step in range(1, 13)]
    assert [row["gradient_change_2"] != "" for row in first[:3]] == [False, False, True]
    summary = json.loads((tmp_path / "out" / "landscape.json").read_text())
    assert [run["diverged"] for run in summary["models"][1]["runs"]] == [False, False, True]
    assert Image.open(tmp_path / "out" / "landscape.png").size[0] > 1000


def test_landscape_against_another_knob(cli: Cli) -> None:
    two = ("--lrs", "1e-3,1e-2", "--against", "activation=elu", "--against", "width=8", "--fixed-batch")
    found = values(cli("landscape", "small.yaml", *two))
    assert (found["configuration"], found["against"]) == ("width=4, activation=relu", "width=8, activation=elu")


def test_filters(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_test_images(digits, monkeypatch)
    found = values(cli("filters", "small.yaml"))
    trained = values(cli("train", "small.yaml"))
    assert found["val_accuracy"] == trained["val_accuracy"]
    assert int(found["mistakes"]) == 100 - round(100 * float(found["val_accuracy"]))
    assert (tmp_path / "reports" / "small" / "classes.png").exists()


@pytest.mark.usefixtures("blank_pictures")
def test_every_export_has_folders_of_its_own(cli: Cli, tmp_path: Path) -> None:
    for study in ("one", "other"):
        config = tmp_path / "reports" / study / "best.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(CONFIG)
        (config.parent / "summary.json").touch()
        assert cli("filters", f"reports/{study}/best.yaml").code == 0
        assert (config.parent / "best" / "classes.png").exists()


def forbid_test_images(source: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any) -> None:
        raise AssertionError("the test split was opened")

    monkeypatch.setattr(source, "test_part", opened)


def test_layers(cli: Cli) -> None:
    text = cli("layers", "small.yaml", "--set", "model=simple_nn", "--set", "width=8", "--set", "data.image_size=32")
    assert text.code == 0
    assert "features.3  Conv2d     16x12x12       1,152        165,888" in text.out
    assert text.out.splitlines()[-2:] == ["parameters=82006", "multiply_adds=716328"]
    parsed = json.loads(cli("layers", "small.yaml", "--json").out)
    assert parsed["parameters"] == sum(layer["parameters"] for layer in parsed["layers"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("lr-range small.yaml --low 0", "--low = 0.0: must be > 0 and below --high, which is 10"),
        ("lr-range small.yaml --low 1 --high 0.1", "--low = 1.0: must be > 0 and below --high, which is 0.1"),
        ("lr-range small.yaml --write fixed.yaml", "fixed.yaml:2: train.lr = 0.1: lr is fixed here"),
        ("lr-range small.yaml --write absent.yaml", "absent.yaml: cannot be read: No such file or directory"),
        ("lr-range small.yaml --set epochs=0", "--set: train.epochs = 0: must be a whole number >= 1"),
        ("lr-range small.yaml --device cuda:99", "device = 'cuda:99': must be a device of this machine"),
        ("lr-range small.yaml --output small.yaml", "small.yaml: cannot be written: File exists"),
        ("lr-range study.yaml", "study.yaml:1: name: belongs to a study"),
        ("landscape small.yaml --lrs 1e-3", "--lrs = '1e-3': must be at least two different numbers > 0"),
        ("landscape small.yaml --lrs 1e-3,x", "--lrs = '1e-3,x': 'x' is no number"),
        ("landscape small.yaml --lrs 1e-3,nan", "--lrs = '1e-3,nan': must be at least two different numbers > 0"),
        ("landscape small.yaml --distances 0", "--distances = '0': must be different whole numbers >= 1"),
        ("landscape small.yaml --against norm", "--against = 'norm': must be KNOB=VALUE, such as norm=none"),
        ("landscape small.yaml --against nrm=none", "--against: nrm: unknown key (did you mean 'norm'?)"),
        (
            "landscape small.yaml --against norm=bach",
            "--against: norm = 'bach': must be batch, group or none (did you mean 'batch'?)",
        ),
        ("landscape small.yaml --against lr=0.1", "--against: lr = '0.1': --lrs says it, for both models"),
        ("landscape small.yaml --against alpha=0.5", "--against: alpha = 0.5: is not taken by optimizer sgd"),
        ("landscape small.yaml --set norm=none", "--against = 'norm=none': the configuration has that already"),
        ("filters small.yaml --image 100", "--image = 100: must be below 100, the number of validation images"),
        ("layers small.yaml --set data.image_size=8 --set model=vgg11", "vgg11 needs images of at least 32x32 pixels"),
    ],
)
def test_wrong_input(arguments: str, message: str, cli: Cli) -> None:
    ended = cli(*arguments.split())
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("command", ["lr-range", "landscape", "filters"])
def test_an_interruption_ends_with_130_and_writes_nothing(
    command: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "train_step", interrupted)
    assert cli(command, "small.yaml").code == 130
    assert not (tmp_path / "reports" / "small").exists()


def test_running_out_of_memory_and_diverging_are_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "training diverged" in (ended := cli("filters", "small.yaml", "--set", "lr=1e30", "--set", "norm=none")).err
    assert ended.code == 1

    def no_memory(learner: Learner, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        raise MemoryError

    monkeypatch.setattr(Learner, "train_step", no_memory)
    ended = cli("lr-range", "small.yaml")
    assert ended.code == 1
    assert "the memory of cpu does not suffice" in ended.err
