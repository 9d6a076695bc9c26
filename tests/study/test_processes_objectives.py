"""Several objectives and a constraint with real processes: killed, continued, exported, trained again."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest

from tests.waiting import PATIENCE

from .test_processes import Folder

STUDY = """
name: disturbed
objective: [{metric: val_accuracy}, {metric: parameters}]
constraints: [parameters <= 20000]
budget: {trials: 6}
sampler: {name: tpe, seed: 2, n_startup_trials: 3}
data: {name: digits, val_size: 300, train_size: 400}
plugins: [wait_for_test.py]
train: {model: cnn3, epochs: 4, batch_size: 64, optimizer: sgd, augment: [wait_for_test]}
search_space:
  width: {choices: [2, 4, 12]}
  lr: {low: 1e-2, high: 2e-1, log: true}
"""


def folder_of(path: Path) -> Folder:
    folder = Folder(path)
    (path / "study.yaml").write_text(STUDY)
    return folder


def facts(folder: Folder) -> list[object]:
    return [(t.state, t.reason, dict(t.params), tuple(t.values), t.feasible) for t in folder.record().trials]


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.exhaustive
def test_killed_and_continued_it_has_the_same_front(tmp_path: Path) -> None:
    undisturbed, folder = folder_of(tmp_path / "undisturbed"), folder_of(tmp_path / "disturbed")
    code, out, err = undisturbed.call("run", "study.yaml")
    assert code == 0, err
    assert "front=" in out

    folder.gate.let(2)
    killed = folder.start("run", "study.yaml")
    folder.wait_for_epochs(2)
    killed.kill()
    killed.communicate(timeout=PATIENCE)
    assert [trial.state for trial in folder.record().trials][-1] == "RUNNING"
    written = folder.epochs()
    stopped = folder.start("run", "study.yaml")
    folder.train_until_epochs(written + 3)
    os.killpg(stopped.pid, signal.SIGINT)
    _, err = stopped.communicate(timeout=PATIENCE)
    assert stopped.returncode == 130
    assert "an earlier run was killed" in err
    folder.gate.open()
    code, out, err = folder.call("run", "study.yaml")
    assert code == 0, err
    assert "Traceback" not in err
    assert facts(folder) == facts(undisturbed)
    reasons = {trial.reason for trial in folder.record().trials}
    assert reasons == {"completed", "infeasible"}

    code, _, err = folder.call("export", "disturbed", "--output", "report")
    assert code == 0, err
    report = folder.path / "report"
    front = json.loads((report / "summary.json").read_text())["front"]
    with (report / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {each["number"] for each in front} == {int(row["number"]) for row in rows if row["on_front"] == "true"}
    code, out, err = folder.call("train", f"report/{front[-1]['file']}")
    assert code == 0, err
    assert f"val_accuracy={front[-1]['values']['val_accuracy']!r}" in out.splitlines()
    assert f"parameters={front[-1]['parameters']}" in out.splitlines()
    assert f"flops={front[-1]['flops']}" in out.splitlines()


def test_without_a_trial_that_keeps_the_constraints(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "strict")
    code, _, err = folder.call("run", "study.yaml", "--trials", "2", "--set", "constraints=[val_accuracy >= 1]")
    assert code == 1
    assert "no completed trial that keeps all of: val_accuracy >= 1" in err
