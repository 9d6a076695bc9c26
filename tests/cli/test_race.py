"""`finalize --trainings` from the command line: a race that is killed in the middle, and goes on."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from cifar_tune.data.prepared import prepare
from cifar_tune.storage import attributes
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from tests.processes import start_cifar_tune
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import AUGMENTATION, PATIENCE, PLUGIN, Gate, read_until

from .conftest import Cli

URL = "sqlite:///small.db"


def made(name: str = "small", trials: int = 5, **train: Any) -> None:
    """A study with candidates, as a run would have left it."""
    spec = make_spec(
        {"lr": {"low": 0.001, "high": 0.5, "log": True}},
        name=name,
        budget={"trials": trials},
        data={"name": "digits", "image_size": 8, "val_size": 200},
        plugins=[PLUGIN] if "augment" in train else [],
        train={"model": "cnn2", "width": 4, "epochs": 1, "batch_size": 128, "precision": "fp32", **train},
    )
    storage = open_storage(storage_url(URL))
    chosen = [MadeTrial({"lr": 0.1 / 2**index}, 0.9 - 0.01 * index, epochs=1) for index in range(trials)]
    record = make_record(spec, chosen, storage)
    prepared = prepare(spec.data)
    described = {
        "fingerprint": prepared.fingerprint,
        "classes": list(prepared.classes),
        "train_images": len(prepared.train_indices),
        "val_images": len(prepared.val_indices),
    }
    record.study.set_user_attr(attributes.DATA, described)
    close(storage)


def read(name: str) -> StudyRecord:
    storage = open_storage(storage_url(URL))
    try:
        return load_record(storage, name)
    finally:
        close(storage)


def values(name: str) -> dict[tuple[int, int], tuple[float | None, object]]:
    """Objective and seed of each training of a race, by its candidate and block."""
    return {
        (trial.task["candidate"], trial.task["block"]): (trial.value, trial.config["seed"])
        for trial in read(f"{name}/finals").trials
        if trial.task is not None
    }


def test_a_race_that_is_killed_goes_on_where_it_was(cli: Cli, tmp_path: Path) -> None:
    cli("knobs")  # into the folder
    gate = Gate(tmp_path)
    made(augment=[AUGMENTATION])
    made("calm", augment=[AUGMENTATION])
    arguments = ("finalize", "small", "--trainings", "10", "--storage", URL)
    planned = cli(*arguments, "--dry-run")
    assert planned.code == 0
    assert "10 trainings of the best 4 of 5 candidates: trial 0, 1, 2, 3" in planned.out
    assert "rung 2: 2 configurations x 3 trainings, seed 2 to 4, validated on fold 2, 3, 4" in planned.out
    assert json.loads(cli("status", "--json", "--storage", URL).out)["studies"][1]["name"] == "small"

    gate.let(6)
    process = start_cifar_tune(arguments, tmp_path, os.environ)
    read_until(process, "[5/10]")  # four of the first rung, and one of the second; another one has begun
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    gate.open()
    before = values("small")
    assert 5 <= len(before) <= 7

    ended = cli(*arguments)
    assert ended.code == 0, ended.err
    assert "the race goes on: 10 trainings of the best 4 of 5 candidates (4 x 1, then 2 x 3)" in ended.err
    finals = read("small/finals")
    assert dict(finals.counts) == {"COMPLETE": 10}
    assert len(values("small")) == 10
    assert {
        key: value for key, value in values("small").items() if before.get(key, (None,))[0] is not None
    }.items() >= {key: value for key, value in before.items() if value[0] is not None}.items()
    [opening] = read("small").openings
    assert opening.chosen == "race"
    assert f"winner of the race: trial {opening.trial}, " in ended.err

    calm = cli("finalize", "calm", "--trainings", "10", "--workers", "2", "--storage", URL)
    assert calm.code == 0, calm.err
    assert values("calm") == values("small")  # neither the kill nor the number of workers changes a training

    status = cli("status", "small/finals", "--storage", URL)
    assert "small/finals: 10 of 10 trials done (10 COMPLETE)" in status.out
    for refused in ("finalize", "run"):
        ended = cli(refused, "small/finals", "--storage", URL)
        assert (ended.code, ended.out) == (2, "")
        assert "belongs to the study 'small'" in ended.err
    other = cli("finalize", "small", "--trainings", "20", "--again", "--storage", URL)
    assert other.code == 2
    assert "--trainings = 20: the race of 'small' was begun with 10; leave it out, or remove it with" in other.err
    assert cli("export", "small/finals", "--storage", URL).code == 0
    assert Path("reports/small/finals/report.html").is_file()
    assert cli("delete", "small", "--yes", "--storage", URL).code == 0
    names = [each["name"] for each in json.loads(cli("status", "--json", "--storage", URL).out)["studies"]]
    assert names == ["calm", "calm/finals"]
