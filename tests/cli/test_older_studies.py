"""Studies and configurations that were stored before there was a knob whose default is not what they did."""

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cifar_tune.knobs.table import BEFORE_THEY_WERE_KNOBS
from tests.processes import call_cifar_tune

from .conftest import Cli

STUDY = """name: old
budget: {trials: 2}
sampler: {name: grid}
pruner: {name: none}
data: {name: digits, train_size: 64, val_size: 100, image_size: 8}
train: {model: resnet20, width: 2, epochs: 1, lr: 0.1}
search_space: {momentum: {choices: [0.9, 0.5, 0.1]}}
"""
KNOB = "zero_init_residual"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study as it was stored before there was the knob: two trials without it, and a `best.yaml`."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "s.yaml").write_text(STUDY)
    before = "".join(f", {name}: false" for name in BEFORE_THEY_WERE_KNOBS)
    (folder / "began.yaml").write_text(STUDY.replace("lr: 0.1", f"lr: 0.1{before}"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CIFAR_TUNE_")}
    assert call_cifar_tune(("run", "began.yaml"), folder, environment)[0] == 0
    with closing(sqlite3.connect(folder / "storage" / "cifar_tune.db")) as connection, connection:
        for table, key, *removed in (
            ("study_user_attributes", "spec", "$.defaults", *(f"$.train.{name}" for name in BEFORE_THEY_WERE_KNOBS)),
            ("trial_user_attributes", "config", *(f"$.{name}" for name in BEFORE_THEY_WERE_KNOBS)),
        ):
            stored = f"json_remove(value_json, {', '.join('?' * len(removed))})"
            done = connection.execute(f"UPDATE {table} SET value_json = {stored} WHERE key = ?", (*removed, key))
            assert done.rowcount > 0
    assert call_cifar_tune(("export", "old"), folder, environment)[0] == 0
    best = folder / "reports" / "old" / "best.yaml"
    text = best.read_text()
    for name in BEFORE_THEY_WERE_KNOBS:
        assert f"{name}: false\n" in text
        text = text.replace(f"  {name}: false\n", "")
    best.write_text(text)
    return folder


@pytest.fixture
def older(cli: Cli, made: Path, tmp_path: Path) -> Path:
    """A copy of it, in which `cli` runs."""
    return Path(shutil.copytree(made, tmp_path, dirs_exist_ok=True))


@pytest.mark.usefixtures("blank_pictures")
def test_it_goes_on_as_it_began(cli: Cli, older: Path) -> None:
    for named in ("s.yaml", "old"):  # the second time there is nothing to do
        ended = cli("run", named, "--trials", "3")
        assert (ended.code, "3 COMPLETE" in ended.out) == (0, True)
        assert "this study goes on as it began, with " in ended.err
        assert f"{KNOB}: false" in ended.err
    assert cli("export", "old").code == 0
    folder = older / "reports" / "old"
    assert json.loads((folder / "summary.json").read_text())["best"]["config"][KNOB] is False
    assert f"{KNOB}: false" in (folder / "best.yaml").read_text()


def test_its_best_configuration_trains_to_the_same_value(cli: Cli, older: Path) -> None:
    stored = re.search(r"val_accuracy = (\S+)", (older / "reports" / "old" / "best.yaml").read_text())
    assert stored is not None
    found = cli("train", "reports/old/best.yaml")
    assert f"\nval_accuracy={stored[1]}\n" in found.out
    loss = [line for line in found.out.splitlines() if line.startswith("val_loss")]
    same = cli("train", "reports/old/best.yaml", "--set", f"{KNOB}=false").out.splitlines()
    other = cli("train", "reports/old/best.yaml", "--set", f"{KNOB}=true").out.splitlines()
    assert loss[0] in same
    assert loss[0] not in other


def test_another_study_like_it_begins_as_it_did(cli: Cli, older: Path) -> None:
    assert f"# {KNOB}: false (default)" in cli("check", "old").out
    assert f"# {KNOB}: true (default)" in cli("check", str(older / "s.yaml")).out
    ended = cli("check", "old", "--set", "model=cnn3")
    assert (ended.code, KNOB in ended.out) == (0, False)


def test_evolving_carries_its_trials_over(cli: Cli, older: Path) -> None:
    (older / "s.yaml").write_text(STUDY.replace("0.1]", "0.1, 0.2]"))
    ended = cli("run", "s.yaml", "--evolve", "--yes")
    assert "old has evolved: 2 finished trials carried over; 0 left behind" in ended.err
    (older / "s.yaml").write_text(STUDY.replace("0.1]", "0.1, 0.2]").replace("lr: 0.1", f"lr: 0.1, {KNOB}: true"))
    refused = cli("run", "s.yaml")
    assert (refused.code, f"train.{KNOB}: added True" in refused.err) == (2, True)
    ended = cli("run", "s.yaml", "--evolve", "--yes")
    assert "2 left behind" in ended.err
    assert f"{KNOB} is True now" in ended.err
