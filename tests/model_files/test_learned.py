"""A model that has learned the validation images of a study is not begun with in silence."""

import json
from pathlib import Path

import pytest

from cifar_tune.data.cache import CACHE_VARIABLE
from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.knobs.initial_weights import pinned
from cifar_tune.model_files.learned import learned_images_warnings
from tests.cli.conftest import Cli, cli  # noqa: F401 (a fixture)

TRAIN = "{model: cnn2, width: 4, epochs: 1, batch_size: 64, precision: fp32, lr: 0.01%s}"
CONFIG = "data: {name: digits, image_size: 8, val_size: 100, train_size: 200}\ntrain: %s\n"
STUDY = DataSpec(name="digits", image_size=8, val_size=100, train_size=200)


def test_only_learned_validation_images_are_warned_of(
    cli: Cli,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    Path("first.yaml").write_text(CONFIG % (TRAIN % ""))
    assert cli("train", "first.yaml", "--save", "first", "--device", "cpu").code == 0

    def warnings(spec: DataSpec, on_all: bool = False) -> list[str]:
        return list(learned_images_warnings(["none", pinned("first")], spec, prepare(spec), on_all))

    assert not warnings(STUDY)  # its training images alone
    other = STUDY.model_copy(update={"split_seed": 1})
    assert " of the 100 validation images (`train` trained it on them)" in warnings(other)[0]
    assert " of the 100 validation images" in warnings(other.model_copy(update={"image_size": 16}))[0]
    assert "has learned 200 of the " in warnings(STUDY, on_all=True)[0]

    file = Path("first/model.json")
    described = json.loads(file.read_text())
    described["origin"] |= {"command": "finalize", "images": "study"}
    file.write_text(json.dumps(described))
    assert "first has learned 100 of the 100 validation images (`finalize` trained it on them)" in warnings(STUDY)[0]
    Path("second.yaml").write_text(CONFIG % (TRAIN % ", init_from: first"))
    assert "warning: init_from first has learned 100 of" in cli("train", "second.yaml", "--device", "cpu").err
    Path("study.yaml").write_text(
        "name: onward\nbudget: {trials: 1}\nsampler: {name: grid}\npruner: {name: none}\n"
        + CONFIG % (TRAIN % "")
        + "search_space: {init_from: {choices: [first]}}\n"
    )
    assert "warning: init_from first has learned 100 of" in cli("check", "study.yaml", "--devices", "cpu").out
    ran = cli("run", "study.yaml", "--devices", "cpu", "--quiet")
    assert "warning: init_from first has learned 100 of" in ran.out + ran.err

    file.write_text(json.dumps(described | {"fingerprint": "0", "split_sha256": "0"}))
    assert "the images or their split have changed since" in warnings(STUDY)[0]
    file.write_text(json.dumps(described | {"weights_sha256": "0"}))  # it describes another file
    assert not warnings(STUDY)
