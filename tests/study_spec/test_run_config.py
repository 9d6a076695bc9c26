from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.knobs.configuration import complete
from cifar_tune.study_spec.overrides import parse_override
from cifar_tune.study_spec.run_config import RunConfig, read_run_config


def read(folder: Path, text: str, *settings: str) -> RunConfig:
    file = folder / "best.yaml"
    file.write_text(text)
    return read_run_config(file, [parse_override(each) for each in settings])


def refusal(folder: Path, text: str, *settings: str) -> str:
    with pytest.raises(UserError) as raised:
        read(folder, text, *settings)
    return str(raised.value).replace(str(folder / "best.yaml"), "best.yaml")


def test_a_configuration_is_complete(tmp_path: Path) -> None:
    found = read(tmp_path, "data: {name: digits}\ntrain: {optimizer: adam, lr: 1e-2}")
    assert found.data.name == "digits"
    assert found.train == complete({"optimizer": "adam", "lr": 0.01})


def test_all_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "{}").train == complete({})


def test_settings_change_it(tmp_path: Path) -> None:
    assert read(tmp_path, "train: {epochs: 5}", "epochs=2", "data.name=digits").train["epochs"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "best.yaml: must be a configuration: a mapping with data and train"),
        ("[1]", "best.yaml: must be a configuration: a mapping with data and train"),
        ("name: x\ntrain: {}", "best.yaml:1: name: belongs to a study; a configuration has only data and train"),
        ("search_space: {lr: {}}", "best.yaml:1: search_space: belongs to a study"),
        ("trian: {}", "best.yaml:1: trian: unknown key (did you mean 'train'?)"),
        ("qqqq: {}", "best.yaml:1: qqqq: unknown key; known here: data, metrics, plugins, train"),
        ("train: {epochs: 0}", "best.yaml:1: train.epochs = 0: must be a whole number >= 1"),
        ("train: {lr: {low: 1, high: 2}}", "best.yaml:1: train.lr = {'low': 1, 'high': 2}: takes one value here"),
        ("train: {optimizer: adam, momentum: 0.9}", "optimizer adam does not take momentum"),
        ("train: {nesterov: true, momentum: 0}", "nesterov needs momentum > 0"),
        ("data: {name: digit}", "(did you mean 'digits'?)"),
    ],
)
def test_refused_configurations(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_knob_at_the_top_belongs_under_train(tmp_path: Path) -> None:
    assert refusal(tmp_path, "lr: 0.1") == "best.yaml:1: lr: lr is a knob: it belongs under train"


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, "name: x\ndata: {val_size: 0}\ntrain: {epochs: 0, x: 1}").splitlines()) == 4


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, "train: {}", "epochs=0").startswith("--set: train.epochs = 0")
    assert refusal(tmp_path, "train: {}", "sampler.seed=0").startswith("--set: sampler: belongs to a study")
