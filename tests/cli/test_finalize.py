"""`finalize` from the command line: a study that really ran, its test set opened once, and again."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from cifar_tune.model_files.reading import read_description
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.urls import STORAGE_VARIABLE, storage_url
from tests.processes import Program, call_cifar_tune, start_cifar_tune
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import AUGMENTATION, PATIENCE, PLUGIN, Gate, read_until

from .conftest import Cli

STUDY = """name: small
budget: {trials: 2}
pruner: {name: none}
data: {name: digits, image_size: 8, val_size: 300}
train: {model: cnn2, width: 4, epochs: 2, batch_size: 64, precision: fp32}
search_space: {lr: {choices: [0.02, 0.05]}}
"""
KEYS = [
    "chosen", "trial", "val_accuracy", "seed", "epochs", "steps", "train_images", "images", "device", "precision",
    "test_images", "test_loss", "test_accuracy", "test_openings", "validation_minus_test", "model",
]  # fmt: skip
URL = "sqlite:///small.db"


def figures(out: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in out.splitlines())


def program(folder: Path, *arguments: str) -> Program:
    return start_cifar_tune((*arguments, "--storage", URL), folder, os.environ)


def call(folder: Path, *arguments: str) -> tuple[int, str, str]:
    return call_cifar_tune((*arguments, "--storage", URL), folder, os.environ)


def test_a_study_from_its_run_to_its_test_set(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(STUDY)
    code, _, err = call(tmp_path, "run", "small.yaml")
    assert code == 0, err

    code, out, err = call(tmp_path, "finalize", "small.yaml", "--quick")
    assert code == 0, err
    first = figures(out)
    assert list(first) == KEYS
    assert (first["epochs"], first["train_images"], first["test_images"]) == ("2", "1498", "299")
    assert first["test_openings"] == "1"
    assert 0.1 < float(first["test_accuracy"]) <= 1
    assert "on 1,498 images: 1,198 of the training and 300 of the validation split; cpu, fp32" in err
    assert "epoch 2/2: train loss " in err
    assert first["model"] == str(tmp_path / "models" / "small")
    assert repr(read_description(first["model"]).metrics["test_accuracy"].value) == first["test_accuracy"]

    second = cli("finalize", "small", "--storage", URL)
    assert (second.code, figures(second.out)) == (0, first)
    assert second.err.splitlines()[0].startswith("small: the test set was opened once, last 20")
    assert "cifar-tune finalize small --again" in second.err

    again = cli("finalize", "small", "--again", "--quick", "--storage", URL, "--device", "cpu")
    assert (again.code, figures(again.out)) == (0, first | {"test_openings": "2"})

    found = json.loads(cli("finalize", "small", "--json", "--storage", URL).out)
    assert list(found) == ["study", "best_trial", "race", "test_openings"]
    assert found["race"] is None
    assert [repr(each["test_accuracy"]) for each in found["test_openings"]] == [first["test_accuracy"]] * 2
    assert [repr(each["test_loss"]) for each in found["test_openings"]] == [first["test_loss"]] * 2

    assert f"  test set: opened twice; last for trial {first['trial']}: test_accuracy 0." in (
        cli("status", "small", "--storage", URL).out
    )
    status = json.loads(cli("status", "small", "--json", "--storage", URL).out)
    assert status["test_openings"] == found["test_openings"]

    exported = cli("export", "small", "--storage", URL, "--weights")
    assert exported.code == 0
    assert "reports/small/model/model.safetensors" in exported.out.splitlines()
    summary = json.loads((tmp_path / "reports" / "small" / "summary.json").read_text())
    assert summary["test_openings"] == found["test_openings"]
    markdown = (tmp_path / "reports" / "small" / "summary.md").read_text()
    assert "The test set was opened twice." in markdown
    assert markdown.index("test accuracy, 95 % interval") < markdown.index("## Result")
    assert "\n## Test set\n\nThe test set was opened **twice**" in markdown

    code, out, err = call(tmp_path, "run", "small.yaml", "--trials", "2", "--quiet")
    assert code == 0
    assert "warning: the test set was opened twice for this study" in err
    assert "the test set was opened twice" in out


def made(plugins: Sequence[str] = (), **train: object) -> None:
    """A study whose best trial can be trained again."""
    from cifar_tune.data.prepared import prepare
    from cifar_tune.storage import attributes

    spec = make_spec(
        {"lr": {"choices": [0.05]}},
        name="small",
        budget={"trials": 1},
        data={"name": "digits", "image_size": 8, "val_size": 300},
        plugins=list(plugins),
        train={"model": "cnn2", "width": 4, "precision": "fp32", **train},
    )
    storage = open_storage(storage_url(URL))
    record = make_record(spec, [MadeTrial({"lr": 0.05}, 0.8, epochs=spec.largest_epochs)], storage)
    fingerprint = prepare(spec.data).fingerprint
    described = {"fingerprint": fingerprint, "classes": list("0123456789"), "train_images": 1198, "val_images": 300}
    record.study.set_user_attr(attributes.DATA, described)
    close(storage)


def test_ctrl_c_during_the_training_leaves_no_mark(cli: Cli, tmp_path: Path) -> None:
    Gate(tmp_path).let(1)
    made(epochs=2, augment=[AUGMENTATION], plugins=[PLUGIN])
    process = program(tmp_path, "finalize", "small", "--quick")
    read_until(process, "epoch 1/2")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert json.loads(cli("status", "small", "--json", "--storage", URL).out)["test_openings"] == []
    assert "run by: nobody right now" in cli("status", "small", "--storage", URL).out


@pytest.mark.usefixtures("blank_pictures")
def test_a_lost_result_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from cifar_tune.study import finalizing

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    made(epochs=1)
    monkeypatch.setattr(finalizing, "measure", killed)
    assert cli("finalize", "small", "--quick", "--storage", URL).code == 130
    assert "test set: opened once; last for trial 0: result lost (20" in cli("status", "--storage", URL).out
    ended = cli("finalize", "small", "--storage", URL)
    assert ended.code == 0
    assert "its result was lost" in ended.err
    assert figures(ended.out)["test_accuracy"] == "unknown"
    assert cli("export", "small", "--storage", URL).code == 0
    assert "| result lost |" in Path("reports/small/summary.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("finalize absent", 2, "no study 'absent': there is no such file yet"),
        ("finalize small --device cuda:9", 2, "device = 'cuda:9': must be a device of this machine"),
        ("finalize nothing", 1, "the study 'nothing' has no completed trial, so there is no best configuration"),
        ("finalize smal", 2, "(did you mean 'small'?)"),
    ],
)
def test_refusals(cli: Cli, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, message: str) -> None:
    if arguments != "finalize absent":
        monkeypatch.setenv(STORAGE_VARIABLE, URL)
        made(epochs=1)
        storage = open_storage(storage_url(URL))
        make_record(make_spec({}, name="nothing"), [], storage)
        close(storage)
    ended = cli(*arguments.split())
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


CHOICES = {
    "--trial 7": "--trial = 7: the study 'small' has no such trial; it has 1 trial, from 0 to 0",
    "--trial 0 --config x.yaml": "leave --trial or --config out",
    "--trial 0 --trainings 20": "there is nothing to race where --trial 0 says what is trained",
    "--quick --networks 3": "--networks = 3: --quick races nothing, and trains one network",
    "--workers 0": "--workers = '0': must be a whole number >= 1, or auto",
    "--config x.yaml": "x.yaml: ",
    "--set lr=1": "--set lr = 1: is a knob, and would make another configuration",
    "--set data.image_size=16": "would change the images for which the study chose",
    "--set data.train_size=100": "--study-images takes only those of the study",
    "--set root=x": "(did you mean 'data.root'?)",
    "--set workers=2": "what can be set is data.root and data.download",
    "--set device=cpu": "has an option of its own: --device",
    "--set data.root=x": "digits are embedded and take no folder",
}


def test_what_cannot_be_tested_or_set_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE_VARIABLE, URL)
    made(epochs=1)
    for options, message in CHOICES.items():
        ended = cli("finalize", "small", *options.split())
        assert (ended.code, ended.out) == (2, ""), options
        assert message in ended.err
        assert "Traceback" not in ended.err
