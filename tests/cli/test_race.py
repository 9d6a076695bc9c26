"""`finalize` from the command line: a race and networks that are killed in the middle, and one opening."""

import json
import os
import re
import signal
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from cifar_tune.data.prepared import prepare
from cifar_tune.model_files.reading import read_description
from cifar_tune.storage import attributes
from cifar_tune.storage.openings import Opening
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.finals import linked_record
from tests.exhaustive import few_of
from tests.processes import start_cifar_tune
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.waiting import AUGMENTATION, PATIENCE, PLUGIN, Gate, read_until, wait_until

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


@pytest.mark.parametrize("compared", few_of([True, False], [False]), ids=["and does the same", "alone"])
def test_finalize_goes_on_where_it_was_killed(cli: Cli, tmp_path: Path, compared: bool) -> None:
    gate = Gate(tmp_path)
    made(augment=[AUGMENTATION])
    made("calm", augment=[AUGMENTATION])
    arguments = ("finalize", "small", "--trainings", "10", "--networks", "3", "--storage", URL)
    planned = cli(*arguments, "--dry-run")
    assert planned.code == 0
    assert "10 trainings of the best 4 of 5 candidates: trial 0, 1, 2, 3" in planned.out
    assert "rung 2: 2 configurations x 3 trainings, seeds 2 to 4, validated on fold 2, 3, 4" in planned.out
    assert "then 3 networks on 1,498 images" in planned.out

    gate.let(6)
    process = start_cifar_tune(arguments, tmp_path, os.environ)
    read_until(process, "[5/10]")  # four of the first rung, and one of the second; another one has begun
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    before = values("small")
    assert 5 <= len(before) <= 7

    process = start_cifar_tune(arguments, tmp_path, os.environ)
    wait_until(lambda: one_more(gate) and trained("small/networks") >= 1)
    process.send_signal(signal.SIGKILL)  # in the second network, or before it
    process.communicate(timeout=PATIENCE)
    gate.open()
    assert not read("small").openings
    assert dict(read("small/finals").counts) == {"COMPLETE": 10}
    after = values("small")
    assert {key: value for key, value in before.items() if value[0] is not None}.items() <= after.items()

    ended = cli(*arguments)
    assert ended.code == 0, ended.err
    assert dict(read("small/networks").counts) == {"COMPLETE": 3}
    [opening] = read("small").openings
    assert (opening.chosen, len(opening.networks), opening.train_images) == ("race", 3, 1498)
    assert [each["seed"] for each in opening.networks] == [5, 6, 7]  # after those of the race
    accuracies = [each["test_accuracy"] or 0.0 for each in opening.networks]
    assert opening.test_accuracy == pytest.approx(fmean(accuracies))
    assert opening.new_images is not None
    assert opening.new_images[0] < fmean(accuracies) < opening.new_images[1]
    assert f"winner of the race: trial {opening.trial}, " in ended.err
    assert read_description(Path("models/small")).metrics["test_accuracy"].value == accuracies[0]  # the first one
    assert not list(Path("storage/artifacts/small@networks").rglob("*.pt"))

    if compared:
        require_the_same_undisturbed(cli, after, opening)
    linked_studies_are_told_and_removed(cli)


def require_the_same_undisturbed(cli: Cli, after: object, opening: Opening) -> None:
    """Neither a kill nor the number of workers changes a training."""
    calm = cli("finalize", "calm", "--trainings", "10", "--networks", "3", "--workers", "2", "--json", "--storage", URL)
    assert calm.code == 0, calm.err
    assert values("calm") == after
    found = json.loads(calm.out)
    assert found["race"]["winner"] == opening.trial
    assert found["test_openings"][0]["networks"] == [dict(each) for each in opening.networks]
    assert [each["trial"] for each in found["race"]["candidates"]] == [0, 1, 2, 3]


def linked_studies_are_told_and_removed(cli: Cli) -> None:
    status = cli("status", "--storage", URL).out
    assert "small/finals: 10 of 10 trials done (10 COMPLETE)" in status
    assert "the race of small; its result is shown by: cifar-tune finalize small" in status
    assert "the networks of small, validated on images that they were trained on" in status
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
    assert names in (["calm"], ["calm", "calm/finals", "calm/networks"])


def one_more(gate: Gate) -> bool:
    gate.let_next()
    return True


def trained(name: str) -> int:
    storage = open_storage(storage_url(URL))
    try:
        record = linked_record(storage, name)
        return 0 if record is None else record.counts["COMPLETE"]
    finally:
        close(storage)


FATED = """
from pathlib import Path

from cifar_tune.plugins import AugmentationPart

FATES = Path({file!r})


def fated(draw):
    first, *rest = FATES.read_text().split()
    FATES.write_text(" ".join(rest))
    return lambda images, batch: images * float(first)


AUGMENTATIONS = {{"fated": AugmentationPart(fated, "images of a training that diverges, or as they are")}}
"""


def test_a_network_that_diverges_is_replaced_and_said(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "fates").write_text("nan 1 1")
    (tmp_path / PLUGIN).write_text(FATED.format(file=str(tmp_path / "fates")))
    made(trials=1, augment=["fated"])
    ended = cli("finalize", "small", "--networks", "2", "--storage", URL)
    assert ended.code == 0, ended.err
    assert "the network of trial 0 could not be trained (diverged); another seed takes its place" in ended.err
    assert "\ntrial 1: a network of the chosen configuration\n" in ended.err
    assert re.search(r"\[2/2\] trial 1: completed, val_accuracy 0.\d+ on images that it was trained on\n", ended.err)
    assert "Of 3 networks 1 could not be trained (diverged with seed 1), and another seed took its place" in ended.err
    assert "\nnetworks_failed=1\n" in ended.out
    assert "\nseeds=2,3\n" in ended.out
    assert "\nmodel_seed=2\n" in ended.out
    [opening] = read("small").openings
    assert (opening.seed, opening.config["seed"]) == (2, 2)
    assert [dict(each) for each in opening.failed_networks] == [{"seed": 1, "reason": "diverged"}]
