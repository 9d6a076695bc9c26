"""`repeats` with real trainings on real folds, killed in the middle."""

from collections import Counter
from pathlib import Path

import pytest

from .test_processes import Folder

STUDY = """
name: disturbed
budget: {trials: 20}
sampler: {name: grid}
repeats: {folds: 3, stop_early: false}
data: {name: digits, train_size: 300}
plugins: [wait_for_test.py]
train: {model: cnn3, width: 8, epochs: 1, batch_size: 64, augment: [wait_for_test]}
search_space:
  activation: {choices: [relu, elu]}
"""


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.exhaustive
def test_a_killed_run_goes_on_and_best_yaml_trains_on_its_fold(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "folds")
    (folder.path / "study.yaml").write_text(STUDY)
    folder.gate.let(2)
    first = folder.start("run", "study.yaml")
    folder.wait_for_epochs(2)
    first.kill()
    first.communicate()

    folder.gate.open()
    code, out, err = folder.call("run", "study.yaml", "--workers", "2")
    assert code == 0, err
    record = folder.record()
    dealt = Counter((trial.params["activation"], trial.repeat, trial.config["seed"]) for trial in record.trials)
    assert dealt == {(name, repeat, repeat - 1): 1 for name in ("relu", "elu") for repeat in (1, 2, 3)}
    assert record.best is not None
    assert record.best.repeated is not None
    assert f"trainings={','.join(map(str, record.best.repeated.numbers))}" in out.splitlines()

    assert folder.call("export", "disturbed", "--output", "report")[0] == 0
    code, out, err = folder.call("train", "report/best.yaml")
    assert code == 0, err
    last = record.trials[record.best.number]
    assert f"val_accuracy={last.value!r}" in out.splitlines()
    assert record.best.value != last.value
