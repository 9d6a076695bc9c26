"""A study that begins with the weights of a saved model: the file belongs to it, and its best trial trains again."""

import json
from pathlib import Path

import pytest
import yaml

from cifar_tune.data.cache import CACHE_VARIABLE

from .conftest import Cli

TRAIN = "{model: cnn2, width: 4, epochs: 1, batch_size: 32, precision: fp32, lr: 0.01}"
DATA = "{name: digits, image_size: 8, val_size: 100, train_size: 200}"
STUDY = f"""name: onward
budget: {{trials: 2}}
sampler: {{name: grid}}
pruner: {{name: none}}
data: {DATA}
train: {TRAIN}
search_space:
  init_from: {{choices: [none, first]}}
"""
WIDER = "search_space:\n  width: {choices: [6, 4]}"  # 4 is the middle one


@pytest.mark.usefixtures("blank_pictures")
def test_a_study_begins_with_a_saved_model(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    Path("first.yaml").write_text(f"data: {DATA}\ntrain: {TRAIN}\n")
    assert cli("train", "first.yaml", "--set", "epochs=3", "--save", "first", "--device", "cpu").code == 0
    Path("study.yaml").write_text(STUDY)
    ended = cli("run", "study.yaml", "--devices", "cpu", "--quiet")
    assert ended.code == 0, ended.err
    assert cli("export", "onward").code == 0

    Path("wider.yaml").write_text(STUDY.replace("width: 4, ", "").replace("search_space:", WIDER))
    checked = cli("check", "wider.yaml", "--devices", "cpu")
    assert checked.code == 2
    assert "first holds the weights of a network with width 4, and this one has width 6" in checked.err

    sha256 = json.loads(Path("first/model.json").read_text())["weights_sha256"]
    best = yaml.safe_load(Path("reports/onward/best.yaml").read_text())
    assert best["train"]["init_from"] == f"first@sha256:{sha256}"
    again = cli("train", "reports/onward/best.yaml", "--device", "cpu", "--json")
    summary = json.loads(Path("reports/onward/summary.json").read_text())
    assert json.loads(again.out)["runs"][0]["val_accuracy"] == summary["best"]["value"]

    weights = Path("first/model.safetensors")
    weights.write_bytes(weights.read_bytes() + b" ")
    refused = cli("train", "reports/onward/best.yaml", "--device", "cpu")
    assert refused.code == 2
    assert "init_from: first has changed: its sha256 is" in refused.err
    other = cli("run", "study.yaml", "--devices", "cpu", "--quiet", "--trials", "3")
    assert other.code == 2
    assert "init_from" in other.err
