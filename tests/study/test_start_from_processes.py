"""The command line from a known configuration to the exported best one, with a real kill -9 at the worst moment."""

import csv
import signal
from pathlib import Path

import pytest
import yaml

from tests.waiting import PATIENCE

from .test_processes import Folder

STUDY = """
name: disturbed
budget: {trials: 4}
sampler: {name: tpe, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 300}
train: {model: cnn3, width: 4, epochs: 1, optimizer: sgd, schedule: constant}
search_space:
  lr: {low: 0.01, high: 0.4, log: true, per: batch_size}
  batch_size: {choices: [32, 64, 96]}
start_from:
  - known.yaml
  - {batch_size: 32}
"""
KNOWN = "train: {model: cnn3, width: 4, epochs: 1, optimizer: sgd, schedule: constant, lr: 0.2, batch_size: 96}"
KILLED_AT_THE_SECOND = """
import os, signal, sys, optuna
from cifar_tune.cli.main import main
whole, count = optuna.Study.enqueue_trial, []
def enqueue(*arguments, **keywords):
    count.append(1)
    if len(count) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(*arguments, **keywords)
optuna.Study.enqueue_trial = enqueue
sys.argv[0] = "cifar-tune"
main()
"""


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.exhaustive
def test_from_a_known_configuration_to_the_best_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "known")
    (folder.path / "study.yaml").write_text(STUDY)
    (folder.path / "known.yaml").write_text(KNOWN)

    code, out, err = folder.call("check", "study.yaml", "--devices", "cpu")
    assert code == 0, err
    assert "  lr: {low: 0.01, high: 0.4, log: true, per: {batch_size: 128}}" in out
    assert "start_from:\n  - {lr: 0.2, batch_size: 96}\n  - {batch_size: 32}  # the sampler draws lr" in out

    killed = folder.start("run", "study.yaml", code=KILLED_AT_THE_SECOND)
    killed.communicate(timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    assert [trial.source for trial in folder.record().trials] == ["start_from"]
    code, out, _ = folder.call("status", "disturbed")
    assert "  enqueued: trial 0" in out
    assert "parked" not in out

    (folder.path / "known.yaml").unlink()  # another machine does not have it: the storage holds the values
    code, out, err = folder.call("run", "disturbed")
    assert code == 0, err
    assert "trial 0: batch_size 96, lr 0.2" in err
    record = folder.record()
    assert [trial.source for trial in record.trials] == ["start_from", "start_from", "sampler", "sampler"]
    assert (record.trials[0].config["lr"], record.trials[0].config["batch_size"]) == (0.2, 96)
    assert record.trials[1].config["batch_size"] == 32
    assert record.counts["COMPLETE"] == len(record.trials) == 4
    best = record.best
    assert best is not None
    assert f"lr={best.config['lr']}" in out.splitlines()

    code, _, err = folder.call("export", "disturbed", "--output", "report")
    assert code == 0, err
    report = folder.path / "report"
    rows = list(csv.DictReader((report / "trials.csv").read_text().splitlines()))
    assert [row["source"] for row in rows] == [trial.source for trial in record.trials]
    assert [float(row["lr"]) for row in rows] == [trial.config["lr"] for trial in record.trials]
    assert yaml.safe_load((report / "best.yaml").read_text())["train"]["lr"] == best.config["lr"]
    assert f"searched: {best.params['lr']:.4g} per 128 of batch_size" in (report / "summary.md").read_text()
    code, out, err = folder.call("train", "report/best.yaml", "--device", "cpu")
    assert code == 0, err
    assert f"val_accuracy={best.value!r}" in out.splitlines()
