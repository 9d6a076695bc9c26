"""Studies that another program copied or renamed: the one that is named is run, under its name."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyModel
from sqlalchemy import update

from cifar_tune.storage.records import StudyRecord, load_record
from cifar_tune.storage.urls import storage_url
from tests.dashboard.conftest import serving
from tests.exhaustive import few_of
from tests.processes import Program, call_cifar_tune, start_cifar_tune
from tests.study.test_processes import watched
from tests.waiting import AUGMENTATION, PATIENCE, PLUGIN, Gate, read_until, wait_until

STUDY = """
name: apple
budget: {trials: 1}
sampler: {name: random, seed: 1}
pruner: {name: none}
data: {name: digits, val_size: 300, train_size: 200}
train: {model: simple_nn, epochs: 1}
search_space: {lr: {low: 1e-3, high: 1e-1, log: true}}
"""
LONG = (
    STUDY.replace("apple", "long")
    .replace("train:", f"plugins: [{PLUGIN}]\ntrain:")
    .replace("epochs: 1", f"epochs: 4, augment: [{AUGMENTATION}]")
)
"""Its training waits for the test."""
URL = "sqlite:///studies.db"
Copy = Callable[[RDBStorage], None]


class Place:
    """A working folder with the files of two studies."""

    def __init__(self, path: Path, url: str = URL) -> None:
        self.path = path
        self.environment = os.environ | {"CIFAR_TUNE_STORAGE": url}
        self.gate = Gate(path)
        (path / "study.yaml").write_text(STUDY)
        (path / "long.yaml").write_text(LONG)

    def call(self, *arguments: str) -> tuple[int, str, str]:
        return call_cifar_tune(arguments, self.path, self.environment)

    @property
    def storage(self) -> RDBStorage:
        return RDBStorage(f"sqlite:///{self.path}/studies.db")

    def record(self, name: str) -> StudyRecord:
        return load_record(self.storage, name)

    def wait_for_epochs(self, name: str, wanted: int) -> None:
        """Until the only trial of a study has so many."""
        url = storage_url(self.environment["CIFAR_TUNE_STORAGE"].replace("///", f"///{self.path}/", 1))
        with watched(url, name) as epochs:
            wait_until(lambda: epochs() >= wanted)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With one study in its database, which has one trial."""
    monkeypatch.delenv("CIFAR_TUNE_ARTIFACTS")
    place = Place(tmp_path)
    assert place.call("run", "study.yaml", "--quiet")[0] == 0
    return place


def copied(storage: RDBStorage) -> None:
    optuna.copy_study(from_study_name="apple", from_storage=storage, to_storage=storage, to_study_name="pear")


def renamed_by_the_dashboard(storage: RDBStorage) -> None:
    study = optuna.load_study(study_name="apple", storage=storage)._study_id
    with serving(storage.engine.url) as dashboard:
        address = dashboard.address.removesuffix("/dashboard") + f"/api/studies/{study}/rename"
        body = json.dumps({"study_name": "pear"}).encode()
        request = Request(address, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310 (our own)
        assert urlopen(request, timeout=PATIENCE).status == 201  # noqa: S310


def renamed(storage: RDBStorage) -> None:
    with storage.engine.begin() as connection:
        connection.execute(update(StudyModel).values(study_name="pear"))


@pytest.mark.parametrize("how", few_of([copied, renamed_by_the_dashboard, renamed], [copied]))
def test_the_study_that_was_named_is_run(place: Place, how: Copy) -> None:
    how(place.storage)
    code, out, err = place.call("run", "pear", "--trials", "3")
    assert code == 0, err
    assert out.startswith("pear: the budget is used up (3 COMPLETE)")
    assert "report with: cifar-tune export pear" in out
    assert place.record("pear").finished == 3
    assert place.record("pear").study.user_attrs["spec"]["name"] == "pear"
    if how is copied:
        assert place.record("apple").finished == 1
        assert place.record("apple").spec.budget.trials == 1
    else:
        assert optuna.get_all_study_names(place.storage) == ["pear"]


@pytest.mark.usefixtures("blank_pictures")
def test_every_command_speaks_of_the_study_that_was_named(place: Place) -> None:
    copied(place.storage)
    (place.path / "pear.yaml").write_text(STUDY.replace("apple", "pear"))
    for given in ("pear", "pear.yaml"):
        assert json.loads(place.call("status", given, "--json")[1])["name"] == "pear"
        assert "pear: 1 of 1 trials" in place.call("watch", given, "--once")[1]
        code, out, err = place.call("export", given)
        assert code == 0, err
        assert all(line.startswith("reports/pear/") for line in out.splitlines())
        assert "apple" not in (place.path / "reports/pear/best.yaml").read_text()
        assert "apple" not in (place.path / "reports/pear/summary.md").read_text()
        code, out, err = place.call("finalize", given, "--quick", "--json")
        assert code == 0, err
        assert json.loads(out)["study"] == "pear"
        assert place.call("run", given, "--evolve", "--yes", "--set", "sampler.seed=2", "--quiet")[0] == 0
        assert place.call("check", given)[1].endswith("pear: everything is in order\n")
    assert len(place.record("pear").openings) == 1
    assert not place.record("apple").openings
    assert sorted(optuna.get_all_study_names(place.storage)) == ["apple", "pear", "pear@1"]
    assert place.call("delete", "pear", "--yes")[1] == "removed pear (1 trial)\n"
    assert sorted(optuna.get_all_study_names(place.storage)) == ["apple", "pear@1"]


@pytest.mark.usefixtures("blank_pictures")
def test_names_that_no_study_file_has_can_be_read_and_deleted_and_are_not_run(place: Place) -> None:
    (place.path / "reports").mkdir()
    for index, name in enumerate(["a/b", "mine.yaml", "reports/", "one two", "me@home", "x" * 300]):
        optuna.copy_study(
            from_study_name="apple", from_storage=place.storage, to_storage=place.storage, to_study_name=name
        )
        assert json.loads(place.call("status", name, "--json")[1])["name"] == name
        code, _, err = place.call("run", name)
        assert code == 2
        assert f"{name!r}: another program gave the study this name, and the name of a study that is run must be" in err
        assert place.call("run", name, "--set", f"name=new{index}", "--quiet")[0] == 0
        if name in ("a/b", "mine.yaml"):
            assert place.call("export", name, "--output", "here")[0] == 0
        assert place.call("delete", name, "--yes")[0] == 0
        assert sorted(optuna.get_all_study_names(place.storage)) == ["apple", *(f"new{n}" for n in range(index + 1))]


def stop(process: Program) -> None:
    process.send_signal(signal.SIGTERM)
    assert "is parked after epoch" in process.communicate(timeout=PATIENCE)[1]


def test_a_copy_goes_on_at_checkpoints_of_its_own(place: Place) -> None:
    place.gate.let(1)
    process = start_cifar_tune(("run", "long.yaml"), place.path, place.environment)
    place.wait_for_epochs("long", 1)
    stop(process)
    (parked,) = (place.path / "storage/artifacts/long").glob("*/checkpoints/trial-000000.pt")
    before = parked.read_bytes()
    optuna.copy_study(
        from_study_name="long", from_storage=place.storage, to_storage=place.storage, to_study_name="pear"
    )
    process = start_cifar_tune(("run", "pear"), place.path, place.environment)
    read_until(
        process, f"this study is a copy: it has taken over checkpoints from {parked.relative_to(place.path).parents[1]}"
    )
    assert int(read_until(process, "trial 0 goes on after epoch ").split()[6].rstrip(":")) == 1
    place.gate.let(1)
    place.wait_for_epochs("pear", 2)
    stop(process)
    assert parked.read_bytes() == before
    assert [place.record(name).trials[0].epochs for name in ("long", "pear")] == [1, 2]
